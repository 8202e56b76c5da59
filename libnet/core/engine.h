#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <net/network.h>

#include "base/hash.h"
#include "base/host_net.h"
#include "base/host_routes.h"
#include "base/loop.h"
#include "core/dispatcher.h"
#include "core/flow_list.h"
#include "core/gatekeeper.h"
#include "core/guest_sender.h"
#include "core/inspector.h"
#include "dns/host_resolvers.h"
#include "dns/service.h"
#include "flow/icmp_answers.h"
#include "flow/icmp_relay.h"
#include "flow/publisher.h"
#include "flow/tcp_relay.h"
#include "flow/udp_relay.h"
#include "gateway/gateway.h"
#include "gateway/lease_store.h"
#include "link/guest_port.h"
#include "stack/reassembly.h"
#include "stack/tcp_engine.h"

namespace sluice::core {

/// One guest's network, assembled: everything that lives on the loop's thread. Made before the loop
/// runs or on its thread, and destroyed likewise; in between all calls are made on that thread.
class Engine {
 public:
  /// `loop` and `host` outlive it. On an error nothing is left behind.
  static Result<std::unique_ptr<Engine>> create(Loop& loop, HostNet& host, NetworkConfig config);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  Loop& loop() { return loop_; }
  const gateway::Config& config() const { return gateway_config_; }

  Status attach(std::unique_ptr<link::GuestPort> port);
  void detach();

  Gatekeeper& gatekeeper() { return gatekeeper_; }
  policy::NameIndex& names() { return gatekeeper_.names(); }
  void forget(const DomainName& name);
  // See Network's calls of these names.
  Status set_policy(PolicyText policy, const DnsChange& dns = {});
  Status change_dns(const DnsChange& change);
  const PolicyText& policy_text() const { return config_.policy; }
  /// Looks at what is here, for the moment of a call.
  Inspector inspector() { return Inspector(loop_, gatekeeper_, *dns_, config_); }

  /// As Network::connect_to_guest() has it.
  Result<UniqueFd> connect_to_guest(const std::optional<IpAddress>& address, Port port);

  flow::Publisher& publisher() { return *publisher_; }
  IpAddress guest_address(Family family) const { return gateway_->guest_address(family); }
  NetworkCounters counters() const;
  /// See Network's calls of these names.
  Result<FlowPage> flows(const FlowFilter& filter);
  std::optional<FlowInfo> flow(FlowId id);
  Result<bool> reset_flow(FlowId id);

 private:
  /// How long the guest's end may be away before its flows are reset: a VMM that reconnects, such
  /// as QEMU's `reconnect`, keeps them.
  static constexpr Duration kLinkGrace = std::chrono::seconds(10);

  Engine(Loop& loop, HostNet& host, NetworkConfig config, const gateway::Config& gateway_config);
  Status start();
  policy::HostView host_view() const;
  FlowList flow_list();
  /// Compiles and puts into effect; on an error nothing changes.
  Status use_policy(const PolicyText& text);
  /// What is under way goes on only where the policy, as it is now, allows it, or is kept.
  void judge_again(RevokedFlows revoked);
  /// `revoked` is of the change that this is a part of.
  void use_dns(dns::RecordChange records, const DnsChange& change, RevokedFlows revoked);
  void use_upstreams(const std::vector<DnsResolver>& resolvers);
  void set_local_names();
  void follow_host_routes();
  void schedule();
  void run_batch();
  void arm_timers();
  void on_tick();
  void on_link(bool up);

  Loop& loop_;
  HostNet& host_;
  NetworkConfig config_;
  gateway::Config gateway_config_;
  GuestSender sender_;
  flow::IcmpAnswers icmp_answers_;
  Gatekeeper gatekeeper_;
  std::unique_ptr<gateway::LeaseStore> lease_store_;
  std::unique_ptr<gateway::Gateway> gateway_;
  stack::Reassembler reassembler_;
  std::unique_ptr<dns::Service> dns_;
  std::unique_ptr<dns::HostResolvers> resolvers_;
  std::unique_ptr<stack::TcpEngine> tcp_engine_;
  std::unique_ptr<flow::TcpRelay> tcp_;
  std::unique_ptr<flow::UdpRelay> udp_;
  std::unique_ptr<flow::IcmpRelay> icmp_;
  std::unique_ptr<flow::Publisher> publisher_;
  std::unique_ptr<HostRoutes> host_routes_;
  policy::HostView policy_view_;  ///< That the policy in effect was compiled for.
  std::unique_ptr<Dispatcher> dispatcher_;
  std::unique_ptr<link::GuestPort> port_;
  link::PortCounters past_ports_;  ///< Of ports that were detached.
  std::unique_ptr<Timer> tick_timer_;
  std::unique_ptr<Timer> gateway_timer_;
  std::unique_ptr<Timer> link_timer_;
  TimePoint gateway_due_{};
  bool scheduled_ = false;
  bool guest_gone_ = false;  ///< The port had a guest, whose end is away.
};

}  // namespace sluice::core
