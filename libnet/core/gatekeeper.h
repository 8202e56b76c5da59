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
#include "core/event_reporter.h"
#include "dns/hooks.h"
#include "dns/record_change.h"
#include "dns/service.h"
#include "flow/gate.h"
#include "gateway/config.h"
#include "policy/learner.h"
#include "policy/name_index.h"
#include "policy/policy.h"
#include "policy/reason.h"

namespace sluice::core {

/// Where policy meets flows and DNS: asks the policy, keeps the guest's name index, translates the
/// gateway's addresses to the host's, and reports every refusal. On the loop's thread.
class Gatekeeper final : public flow::Gate {
 public:
  Gatekeeper(Loop& loop, const gateway::Config& config, std::vector<ReverseSpec> reverse,
             EventReporter::Sinks sinks);

  void set_dns(dns::Service* dns) { dns_ = dns; }
  void set_first_flight_options(const policy::FirstFlightOptions& options) {
    first_flight_options_ = options;
  }
  /// Takes effect at once and whole. The relays have to judge again what is open.
  void set_policy(std::shared_ptr<const policy::Policy> policy);
  const policy::Policy& policy() const { return *policy_; }
  policy::NameIndex& names() { return names_; }
  /// Drops the bindings of a name; what only they allowed is refused when it is judged again.
  void forget(const DomainName& name);
  /// Likewise what records that are gone bound; whether there was anything.
  bool forget(const dns::RecordChange& change);

  // See Network's calls of these names.
  void learn(LearnMode mode);
  void stop_learning() { is_learning_ = false; }
  LearnReport learned() const;

  // flow::Gate
  flow::TcpRoute route_tcp(const Endpoint& guest, const Endpoint& remote, FlowId flow) override;
  flow::UdpRoute route_udp(const Endpoint& guest, const Endpoint& remote, FlowId flow) override;
  flow::Grant allow_echo(const IpAddress& guest, const IpAddress& remote) override;
  flow::Grant allow_ingress(Protocol protocol, const std::optional<Endpoint>& client,
                            const Endpoint& guest, FlowId flow) override;
  void on_client_refused(Protocol protocol, const Endpoint& client, const Endpoint& guest,
                         const PublishSpec& port) override;
  bool allow_named(Protocol protocol, const Endpoint& guest, const Endpoint& remote,
                   const DomainName& name, FlowId flow) override;
  bool allow_unread(Protocol protocol, const Endpoint& guest, const Endpoint& remote,
                    FlowId flow) override;
  void look_up(const Endpoint& guest, const DomainName& name, Family family,
               flow::AddressesTo done) override;
  flow::TcpRoute route_named(const Endpoint& guest, const Endpoint& remote, const DomainName& name,
                             FlowId flow) override;
  void on_first_flight_denied(Protocol protocol, const Endpoint& guest, const Endpoint& remote,
                              const policy::FirstFlightDenial& denial, FlowId flow) override;
  void on_flow_closed(const flow::FlowSight& flow, std::string_view reason) override;

  // dns::Hooks
  dns::LookupVerdict may_query(const dns::Lookup& lookup);
  std::vector<std::size_t> on_answer(const dns::AnswerNotice& notice);
  void on_limit(const dns::Lookup& lookup, dns::Limit limit);

  /// Of the policy in force: the first is 1.
  std::uint64_t generation() const { return generation_; }
  std::uint64_t denials() const { return events_.denials(); }
  /// The number that the next flow gets.
  FlowId next_flow() const { return next_flow_; }

 private:
  /// One flow about to be, or judged again.
  struct Asked {
    Layer layer = Layer::syn;
    Direction direction = Direction::egress;
    Protocol protocol = Protocol::tcp;
    Endpoint source;
    Endpoint destination;
    FlowId flow = 0;  ///< 0: it is new.
  };

  /// Which of its addresses the guest means by an address of the gateway's.
  bool is_gateway(const IpAddress& address) const;
  bool is_host(const IpAddress& address) const;
  /// The gateway's DNS ports: never the host's loopback, which its other ports lead to.
  bool is_own_service(const Endpoint& remote) const;
  /// Addresses that lead nowhere whatever the policy says.
  bool is_unroutable(const IpAddress& address) const;
  /// Where on the host what the guest names so is, and what keeps its names bound.
  void lead(flow::TcpRoute& route, const Endpoint& remote);
  policy::Query query(Direction direction, Protocol protocol, const Endpoint& source,
                      const Endpoint& destination) const;
  /// Reports a refusal.
  policy::Decision judge(const Asked& asked);
  /// What lets it through, with a number where it is new; reports that.
  flow::Grant grant(const Asked& asked, std::shared_ptr<const flow::Ground> ground);
  std::shared_ptr<const flow::Ground> ground_of(const Verdict& verdict);
  std::shared_ptr<const flow::Ground> ground_of(std::string text) const;
  policy::FirstFlight::Judge name_judge(Protocol protocol, const Endpoint& guest,
                                        const Endpoint& remote, FlowId flow);
  Event event_of(const Asked& asked) const;
  /// With what decided.
  Event event_of(const Asked& asked, const Verdict& verdict) const;
  /// Says so in an event.
  void note_verdict(Event& event, const Verdict& verdict, policy::Judged judged) const;
  /// Keeps the bindings of a flow's address in force for as long as the flow.
  std::shared_ptr<const void> hold(const IpAddress& address);
  Event lookup_event(const dns::Client& client, const DomainName& name) const;
  void learn_flow(const policy::Query& query, const policy::Decision& decision);

  Loop& loop_;
  const gateway::Config& config_;
  std::vector<ReverseSpec> reverse_;
  EventReporter events_;
  dns::Service* dns_ = nullptr;
  std::shared_ptr<const policy::Policy> policy_;
  policy::NameIndex names_;
  policy::FirstFlightOptions first_flight_options_;
  std::uint64_t generation_ = 0;
  FlowId next_flow_ = 1;
  /// By rule, of the policy in force: what the flows that it lets through share.
  std::unordered_map<int, std::shared_ptr<const flow::Ground>> grounds_;

  bool is_learning_ = false;
  LearnMode learn_mode_ = LearnMode::everything;
  policy::Learner learner_;
};

}  // namespace sluice::core
