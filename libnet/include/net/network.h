#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <net/address.h>
#include <net/dns.h>
#include <net/flow.h>
#include <net/inspect.h>
#include <net/name.h>
#include <net/publish.h>
#include <net/ring.h>
#include <net/status.h>
#include <net/verdict.h>

namespace sluice {

class Loop;
namespace link {
class GuestPort;
}
namespace core {
class Engine;
}

/// How a rule got into the configuration.
enum class RuleOrigin : std::uint8_t {
  command_line,  ///< Before all others.
  config,        ///< After the command line's.
  preset,        ///< After the config's, before the profile's.
};

/// One rule, or several with commas between; docs/policy.md has the language.
struct RuleText {
  std::string text;
  RuleOrigin origin = RuleOrigin::command_line;
  std::string where = "rule";  ///< Shown with each denial: "--rule", a file name.
  int line = 0;                ///< From 1; 0: lines make no sense there.
  /// Set for a bare target: `example.com` with Action::allow means `allow@example.com`.
  std::optional<Action> shorthand = std::nullopt;
  /// The rule counts for these addresses behind the guest's NIC alone, a container's for example;
  /// nothing: for all.
  std::optional<IpPrefix> scope = std::nullopt;
};

/// Some members of a set of names and addresses, on which rules can be written. Several of one name
/// add up.
struct SetText {
  std::string name;
  std::string members;        ///< One target, or several with commas between.
  std::string where = "set";  ///< Shown in errors.
  int line = 0;               ///< From 1; 0: lines make no sense there.
};

/// What the guest may reach, as the operator wrote it.
struct PolicyText {
  std::vector<RuleText> rules;
  std::optional<std::string> profile;  ///< none, public, private, host, all; docs/policy.md.
  std::vector<SetText> sets;
  /// Where rules are on names, DNS that the gateway can't see: DNS over TLS and QUIC (port 853),
  /// and known hosts of DNS over HTTPS. Deny refuses what no rule names (the host, the one address,
  /// the port); allow leaves it to the rules.
  Action encrypted_dns = Action::deny;
  bool wide_suffix = false;  ///< Lets a rule be on a suffix of one label, `*.com`.
};

/// What a Network is made from. The defaults suit an image that was made for gvproxy.
struct NetworkConfig {
  std::string name = "sluice";  ///< Of the Network, in events and logs.

  // Link and addresses. The guest's view: nothing of it exists on the host.
  IpPrefix subnet4{IpAddress::v4(192, 168, 127, 0), 24};
  std::optional<IpAddress> gateway4;     ///< Default: the subnet's first address.
  std::optional<IpAddress> guest4;       ///< Default: the one after the gateway.
  std::optional<IpAddress> host_alias4;  ///< Default: the last free one before broadcast.
  /// A ULA /64.
  IpPrefix prefix6{IpAddress::v6({0xfd, 0x53, 0x4c, 0x55, 0x49, 0x43}), 64};
  /// Largest IP packet on the link: 1280 to 65520 bytes. What the attachment can carry bounds it.
  std::uint16_t mtu = 65520;
  std::string guest_name = "guest";
  std::vector<std::pair<MacAddress, IpAddress>> static_leases;
  std::vector<IpPrefix> routed_prefixes;  ///< Behind the guest: containers inside the VM.
  std::string lease_file;                 ///< Empty: leases are forgotten with the Network.

  // Names.
  /// Empty: the host's, from `resolv_conf`, as they change.
  std::vector<DnsResolver> dns_upstreams;
  std::string resolv_conf = "/etc/resolv.conf";
  /// Certificates in PEM that those of resolvers over TLS are checked against; empty: the host's
  /// trust store.
  std::string dns_ca;
  std::vector<DnsSplit> dns_split;       ///< Zones that have resolvers of their own.
  std::vector<std::string> dns_records;  ///< Each "NAME [TTL] TYPE VALUE"; dns/record_text.h.
  std::vector<DomainName> dns_zones;     ///< In these, what has no record does not exist.
  DeniedNames denied_names = DeniedNames::nxdomain;
  std::chrono::seconds dns_stale_if_error{0};  ///< RFC 8767: 0 turns it off.
  DnsLimits dns_limits;

  // Policy.
  PolicyText policy;
  /// A TLS, HTTP or QUIC flow that only a name rule opens (or that one could deny), and whose first
  /// bytes give no readable name. Action::allow: what DNS has bound to the address decides alone.
  Action unidentified = Action::deny;
  /// Such a flow whose hello has encrypted_client_hello, meant or not (browsers send it at random):
  /// the server may take it for another name than the readable one. Action::allow: that one counts.
  Action encrypted_hello = Action::deny;
  RevokedFlows revoked_flows = RevokedFlows::reset;
  /// Such a flow whose name may be reached goes only to an address that the gateway's own lookup of
  /// the name gives: over TCP that is dialled in place of the guest's choice where they differ.
  bool resolve_and_dial = false;

  // Published ports.
  std::vector<PublishSpec> publish;
  std::vector<ReverseSpec> reverse;

  // Limits.
  std::size_t max_flows = 16384;     ///< TCP connections.
  std::size_t max_held_syns = 1024;  ///< Connections of which the host's answer is awaited.
  std::size_t memory_bytes = std::size_t{512} << 20;  ///< TCP windows and queues together.
  std::chrono::seconds tcp_idle{0};  ///< Idle connections are reset after this; 0: never.

  /// Called for each refusal, on the loop's thread: it must return soon and must not call the
  /// Network. Like refusals within a second are counted in the next one's `suppressed`, which comes
  /// after that second at the latest.
  std::function<void(const DenialEvent&)> on_denied;

  /// Called for each lookup and flow that is let through, each name in a flow's first bytes that
  /// is, and each flow's end; as on_denied is, but that up to 50 like events are told in a second
  /// before others are only counted. Unset: none of this costs anything.
  std::function<void(const Event&)> on_flow;

  /// Called for each refusal by a rule marked `deny!`, also for those that on_denied is only told
  /// the number of, before it is told, and as there. Whoever wants the guest closed ends its VM and
  /// destroys the Network from another thread; until then everything goes on under the policy.
  std::function<void(const DenialEvent&)> on_violation;
};

/// A snapshot of what a Network does.
struct NetworkCounters {
  std::uint64_t tx_frames = 0, tx_bytes = 0;  ///< Sent by the guest.
  std::uint64_t rx_frames = 0, rx_bytes = 0;  ///< Received by the guest.
  std::size_t tcp_flows = 0, udp_flows = 0, icmp_flows = 0;
  std::size_t held_syns = 0;
  std::uint64_t tcp_opened = 0;
  std::uint64_t tcp_retransmissions = 0;  ///< Of segments to the guest.
  std::size_t memory_bytes = 0;           ///< Reserved of the memory budget.
  std::uint64_t denials = 0;
  std::uint64_t dns_queries = 0;
  /// Frames and packets that went nowhere, by cause; causes that never happened are left out.
  std::vector<std::pair<std::string, std::uint64_t>> drops;
};

/// A guest's network: the gateway it sees, its way to the world and back, under a policy.
///
/// One per process, since lwIP is one: create() refuses a second while there is one. It owns a
/// thread, on which everything happens; all calls here may be made on any other thread, and wait
/// for that one. Destroying it stops it: flows are reset, ports closed, leases saved.
class Network {
 public:
  /// Checks the configuration, compiles the policy, binds all published ports, and starts. On an
  /// error nothing is left behind; the message names the setting and the fix.
  static Result<std::unique_ptr<Network>> create(NetworkConfig config);
  /// What a configuration comes to, without anything being started or bound: the policy, in effect
  /// as on a host of which nothing is known. The error is what create() would say.
  static Result<PolicyInfo> check(const NetworkConfig& config);
  ~Network();
  Network(const Network&) = delete;
  Network& operator=(const Network&) = delete;

  /// Attaches the guest by rings in shared memory; see net/ring.h. One guest at a time:
  /// already_exists while there is one. One whose end has gone makes room.
  Result<std::unique_ptr<RingLink>> attach_ring(const RingOptions& options = {});

  /// Attaches the guest by a port of the caller's, made on the Network's thread (link/guest_port.h;
  /// inside the source tree only).
  using PortFactory = std::function<Result<std::unique_ptr<link::GuestPort>>(Loop& loop)>;
  Status attach(PortFactory factory);
  /// The guest is gone; its flows are reset.
  void detach();

  // Names.
  /// What the guest's DNS answers have bound to an address, latest first.
  std::vector<std::string> names_of(const IpAddress& address);
  /// Whether a name that `predicate` accepts is bound to the address.
  bool any_name_of(const IpAddress& address,
                   const std::function<bool(const std::string&)>& predicate);
  /// The whole name index, latest bound first within a name.
  std::vector<NameBinding> bindings();
  DnsInfo dns();
  /// Drops the bindings of a name and resets the flows that only they allowed.
  void forget(const DomainName& name);

  // Flows.
  /// The open flows that a filter lets through. Looks at all of them on the loop's thread, some
  /// 10 ms for 100,000, whatever the limit: a view for people and dashboards, not for each second.
  /// invalid_argument: `to` is no address, block or name.
  Result<FlowPage> flows(const FlowFilter& filter = {});
  /// One flow; nothing where it has ended, or there never was one.
  std::optional<FlowInfo> flow(FlowId id);
  /// Ends a flow: of TCP, both ends get a RST; of UDP and ICMP, what comes back is no longer the
  /// guest's. What the guest sends after that is a new flow. False where it had ended already.
  /// not_found: there never was one of this number.
  Result<bool> reset_flow(FlowId id);

  // Published ports, while running.
  Result<std::vector<PublishedPort>> publish(const PublishSpec& spec);
  Status unpublish(const PublishSpec& spec, LiveFlows live);
  std::vector<PublishedPort> published();

  /// Connects the caller to a TCP port in the guest, as a client of a published Unix socket is, of
  /// which the guest sees the gateway's address; nothing of it can be reached by others. `address`
  /// is of the guest's subnet or behind it, by default the guest's own. Gives a stream socket,
  /// non-blocking, which the caller closes; the guest's answer is still awaited, and where it
  /// refuses the socket ends. invalid_argument: no address there. exhausted: a limit.
  Result<int> connect_to_guest(const std::optional<IpAddress>& address, Port port);

  /// The records that are answered here, by name, type and value.
  std::vector<DnsRecord> dns_records();
  /// Changes what is answered here and who is asked, whole or not at all. What a record opened goes
  /// with it: an address that a removed record gave a name is no longer bound to that name, and
  /// flows that only this allowed are reset.
  Status change_dns(const DnsChange& change);

  /// Replaces the policy, whole or not at all; open flows are judged again as `revoked_flows` says.
  /// `dns` takes effect in the same moment, or neither does.
  Status set_policy(PolicyText policy, const DnsChange& dns = {});
  /// The policy in force as it was given.
  PolicyText policy_text();
  PolicyInfo policy();
  /// What the policy would say now, and why: "tcp github.com:443", "udp 192.0.2.1:53",
  /// "icmp 192.0.2.1", "dns example.com", "ingress tcp 192.0.2.1:80" (a client, and the guest's
  /// port); with "from 10.88.0.5" behind it, from there. Nothing is sent or recorded. The error
  /// says what can't be understood.
  Result<PolicyAnswer> check_policy(std::string_view question);

  /// Begins to record what the guest looks up and where it goes, and forgets what was recorded
  /// before. What is allowed stays as it is.
  void learn(LearnMode mode);
  /// What was recorded can still be asked for.
  void stop_learning();
  LearnReport learned();

  IpAddress gateway_address(Family family) const;
  IpAddress guest_address(Family family) const;
  NetworkCounters counters();

 private:
  class Thread;
  explicit Network(std::unique_ptr<Thread> thread);
  std::unique_ptr<Thread> thread_;
};

}  // namespace sluice
