#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "hostd/ctl/client.h"

namespace sluice::ctl {

/// How an answer is shown.
enum class Output { people, json };

/// What `flows` is to show.
struct FlowsShown {
  std::string to;  ///< Address, block or name; empty: all.
  std::string proto;
  std::string direction;
  std::uint64_t limit = 1000;
  std::uint64_t after = 0;  ///< Only flows with greater numbers.
  bool is_wide = false;     ///< All columns, whatever the terminal's width.
};

/// What `events` is to show.
struct EventsShown {
  std::string kind;                    ///< denied, allowed or closed; empty: all.
  std::string layer;                   ///< Of docs/policy.md; empty: all.
  std::string to;                      ///< As in FlowsShown.
  std::uint64_t limit = 0;             ///< The latest ones, or the first after `since`; 0: all.
  std::optional<std::uint64_t> since;  ///< Only those with greater numbers.
  bool follows = false;                ///< Go on as they happen.
};

/// The commands. Each asks the hostd, prints to standard output, and returns the exit status: 0, or
/// 1 with the reason on standard error; `policy check` returns 1 for a deny.
class Commands {
 public:
  Commands(Client client, Output output) : client_(std::move(client)), output_(output) {}

  const Client& client() const { return client_; }
  Output output() const { return output_; }

  int status();
  int flows(const FlowsShown& shown);
  int show_flow(std::uint64_t id);
  int reset_flows(const std::vector<std::uint64_t>& ids);
  // Of dns_commands.cpp.
  int dns();
  int dns_records(const std::string& name);
  int add_dns_record(const std::string& record, bool replace);
  int remove_dns_records(const std::string& name, const std::string& type,
                         const std::string& value);
  int dns_zones();
  int add_dns_zone(const std::string& zone);
  int remove_dns_zone(const std::string& zone);
  int dns_split();
  int set_dns_split(const std::string& zone, const std::vector<std::string>& resolvers);
  int remove_dns_split(const std::string& zone);
  int dns_upstream();
  int set_dns_upstream(const std::vector<std::string>& resolvers);

  int names();
  int forget_name(const std::string& name);
  int ports();
  int add_port(const std::string& spec);
  int remove_port(const std::string& spec, bool reset_flows);
  int policy();
  int set_policy(const std::vector<std::string>& rules, const std::vector<std::string>& presets,
                 const std::string& profile);
  int check_policy(const std::string& question);
  int start_learning(bool refused_only);
  int stop_learning();
  int learned();
  int events(const EventsShown& shown);

 private:
  using Print = std::function<void(const nlohmann::json& answer)>;
  /// Without `print` people see nothing but an error.
  int show(const Result<nlohmann::json>& answer, const Print& print = {});

  Client client_;
  Output output_;
};

}  // namespace sluice::ctl
