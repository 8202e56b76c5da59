#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <net/inspect.h>
#include <net/publish.h>
#include <net/verdict.h>

#include "base/host_routes.h"
#include "base/loop.h"
#include "dns/hooks.h"
#include "dns/record_change.h"
#include "dns/service.h"
#include "flow/gate.h"
#include "gateway/config.h"
#include "policy/learner.h"
#include "policy/name_index.h"
#include "policy/policy.h"

namespace sluice::core {

/// Where policy meets flows and DNS: asks the policy, keeps the guest's name index, translates the
/// gateway's addresses to the host's, and reports every refusal. On the loop's thread.
class Gatekeeper final : public flow::Gate {
 public:
  using OnDenied = std::function<void(const DenialEvent&)>;

  Gatekeeper(Loop& loop, const gateway::Config& config, std::vector<ReverseSpec> reverse,
             OnDenied on_denied, OnDenied on_violation = {});

  void set_dns(dns::Service* dns) { dns_ = dns; }
  void set_first_flight_options(const policy::FirstFlightOptions& options) {
    first_flight_options_ = options;
  }
  /// Takes effect at once and whole.
  void set_policy(std::shared_ptr<const policy::Policy> policy,
                  RevokedFlows revoked = RevokedFlows::reset);
  const policy::Policy& policy() const { return *policy_; }
  policy::NameIndex& names() { return names_; }
  /// Drops the bindings of a name; what only they allowed is refused when it is judged again.
  void forget(const DomainName& name);
  /// Likewise what records that are gone bound.
  void forget(const dns::RecordChange& change);

  // See Network's calls of these names.
  void learn(LearnMode mode);
  void stop_learning() { is_learning_ = false; }
  LearnReport learned() const;

  // flow::Gate
  flow::TcpRoute route_tcp(const Endpoint& guest, const Endpoint& remote) override;
  flow::UdpRoute route_udp(const Endpoint& guest, const Endpoint& remote) override;
  bool allow_echo(const IpAddress& guest, const IpAddress& remote) override;
  bool allow_ingress(Protocol protocol, const Endpoint& client, const Endpoint& guest) override;
  bool allow_named(Protocol protocol, const Endpoint& guest, const Endpoint& remote,
                   const DomainName& name) override;
  bool allow_unread(Protocol protocol, const Endpoint& guest, const Endpoint& remote) override;
  void on_first_flight_denied(Protocol protocol, const Endpoint& guest, const Endpoint& remote,
                              const policy::FirstFlightDenial& denial) override;
  std::uint64_t generation() const override { return generation_; }
  std::uint64_t revoked_before() const override { return revoked_before_; }

  // dns::Hooks
  dns::LookupVerdict may_query(const dns::Lookup& lookup);
  std::vector<std::size_t> on_answer(const dns::AnswerNotice& notice);
  void on_limit(const dns::Lookup& lookup, dns::Limit limit);

  std::uint64_t denials() const { return denials_; }

 private:
  /// Which of its addresses the guest means by an address of the gateway's.
  bool is_gateway(const IpAddress& address) const;
  bool is_host(const IpAddress& address) const;
  /// The gateway's DNS ports: never the host's loopback, which its other ports lead to.
  bool is_own_service(const Endpoint& remote) const;
  /// Addresses that lead nowhere whatever the policy says.
  bool is_unroutable(const IpAddress& address) const;
  policy::Query query(Direction direction, Protocol protocol, const Endpoint& source,
                      const Endpoint& destination) const;
  /// Reports a refusal.
  policy::Decision judge(Layer layer, Direction direction, Protocol protocol,
                         const Endpoint& source, const Endpoint& destination);
  policy::FirstFlight::Judge name_judge(Protocol protocol, const Endpoint& guest,
                                        const Endpoint& remote) const;
  /// Keeps the bindings of a flow's address in force for as long as the flow.
  std::shared_ptr<const void> hold(const IpAddress& address);
  void deny_lookup(const dns::Lookup& lookup, std::string rule, std::string reason, bool is_fatal);
  void deny(DenialEvent event);
  void learn_flow(const policy::Query& query, const policy::Decision& decision);

  Loop& loop_;
  const gateway::Config& config_;
  std::vector<ReverseSpec> reverse_;
  OnDenied on_denied_;
  OnDenied on_violation_;
  dns::Service* dns_ = nullptr;
  std::shared_ptr<const policy::Policy> policy_;
  policy::NameIndex names_;
  policy::FirstFlightOptions first_flight_options_;
  std::uint64_t generation_ = 0;
  std::uint64_t revoked_before_ = 0;
  std::uint64_t denials_ = 0;

  bool is_learning_ = false;
  LearnMode learn_mode_ = LearnMode::everything;
  policy::Learner learner_;

  /// Refusals reported lately, by what makes them alike.
  struct Recent {
    TimePoint reported;
    std::uint64_t suppressed = 0;
  };
  std::unordered_map<std::string, Recent> recent_;
};

}  // namespace sluice::core
