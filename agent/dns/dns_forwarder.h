#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include <net/address.h>

#include "agent/dns/dns_counters.h"
#include "agent/dns/upstream_call.h"
#include "base/host_net.h"
#include "base/loop.h"

namespace sluice::agent {

/// Puts queries to the servers of the outside, as many at once as the limits allow, each as its
/// bytes are: what the server says is what the client gets.
///
/// ```
///   ask -> the same under way? -- yes: wait with it
///      '-> server -- answer -----------------------------> reply
///             ^ '-- silent for kTimeout, no way, SERVFAIL
///             '---- next server, if there is one --'
/// ```
/// Which server answered last is asked first. While there is none at all, queries wait for one to
/// be set. One thread.
class DnsForwarder {
 public:
  static constexpr Duration kTimeout = std::chrono::seconds(2);  ///< Of one server.
  static constexpr std::size_t kMaxServers = 3;                  ///< As resolv.conf(5) has it.
  static constexpr std::size_t kMaxQuestions = 512;  ///< Different ones at once: each a socket.
  static constexpr std::size_t kMaxWaiting = 4096;   ///< Queries at once.
  static constexpr std::size_t kMaxPerClient = 512;  ///< Of one address.

  /// Whose id is in the reply is of no meaning; empty: there is no answer.
  using OnReply = std::function<void(ConstBytes reply)>;
  using RandomId = std::function<std::uint16_t()>;

  /// All outlive the forwarder.
  DnsForwarder(Loop& loop, HostNet& host, DnsCounters& counters, RandomId random);
  ~DnsForwarder();
  DnsForwarder(const DnsForwarder&) = delete;
  DnsForwarder& operator=(const DnsForwarder&) = delete;

  /// The first kMaxServers count. What is under way with another server begins anew.
  void set_servers(std::vector<Endpoint> servers);
  const std::vector<Endpoint>& servers() const { return servers_; }

  /// False, and no reply, beyond the limits. The reply comes in a later turn, and is the client's
  /// problem when the client has gone.
  bool ask(ConstBytes query, dns::Transport transport, const IpAddress& client, OnReply on_reply);
  std::size_t questions() const { return questions_.size(); }
  std::size_t waiting() const { return waiting_; }

 private:
  struct Waiter {
    IpAddress client;
    OnReply on_reply;
  };
  struct Question {
    std::vector<std::uint8_t> query;
    dns::Transport transport = dns::Transport::udp;
    std::vector<Waiter> waiters;
    std::size_t server = 0;             ///< Index of the one that is being asked.
    std::size_t asked = 0;              ///< Servers, this one counted.
    std::vector<std::uint8_t> refusal;  ///< What to say if no server does better.
    std::unique_ptr<UpstreamCall> call;
    std::unique_ptr<Timer> timer;
  };

  static std::string key_of(ConstBytes query, dns::Transport transport);
  void try_server(const std::string& key, Question& question);
  void on_reply(const std::string& key, std::vector<std::uint8_t> reply);
  void next_server(const std::string& key);
  void finish(const std::string& key, ConstBytes reply);

  Loop& loop_;
  HostNet& host_;
  DnsCounters& counters_;
  RandomId random_;
  std::vector<Endpoint> servers_;
  std::size_t preferred_ = 0;
  std::unordered_map<std::string, std::unique_ptr<Question>> questions_;
  std::unordered_map<IpAddress, std::size_t> of_client_;
  std::size_t waiting_ = 0;
};

}  // namespace sluice::agent
