#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <net/address.h>
#include <net/name.h>

namespace sluice {

enum class Action : std::uint8_t { deny, allow };
enum class Direction : std::uint8_t { egress, ingress };

/// Where a decision was taken.
enum class Layer : std::uint8_t { dns, syn, first_flight, udp, icmp, ingress };

std::string_view to_string(Action action);        ///< "allow", "deny"
std::string_view to_string(Direction direction);  ///< "egress", "ingress"
std::string_view to_string(Layer layer);          ///< "dns", "syn", ...

/// What a verdict rests on.
enum class Basis : std::uint8_t {
  default_action,  ///< No rule matched: the default of the direction.
  address_rule,    ///< A rule on an address, a block, a group or `any`.
  name_rule,       ///< A rule on a name or on `*.suffix`.
  dns_service,     ///< The gateway's own DNS ports, open because some rule needs names.
  encrypted_dns,   ///< A way around the gateway's DNS, which rules on names would not see.
};

/// Allow or deny, with what decided.
struct Verdict {
  Action action = Action::deny;
  /// Index into the policy's rules, in order; -1: none, see `basis`.
  int rule = -1;
  Basis basis = Basis::default_action;

  bool allowed() const { return action == Action::allow; }
  friend bool operator==(const Verdict&, const Verdict&) = default;
};

/// What becomes of open flows that a new policy would refuse.
enum class RevokedFlows : std::uint8_t {
  reset,
  /// They go on to their end, or until they are judged for another reason: a name is forgotten, the
  /// host's addresses change. What names a host anew, such as the next HTTP request, is judged as
  /// ever.
  keep,
};

/// One rule of the policy in force.
struct RuleInfo {
  std::string text;    ///< In its shortest spelling.
  std::string source;  ///< "--rule", a file's name, "profile public".
  int line = 0;        ///< In the file, from 1; 0: lines make no sense there.
  std::string scope;   ///< The block behind the guest's NIC that it counts for; empty: all.
  std::string set;     ///< The named set of which it is a member; empty: none.
};

/// A flow's number: never used twice in the life of a Network, and greater than those of all flows
/// before it. 0: none.
using FlowId = std::uint64_t;

/// Names of one address in an event or a list of flows: a guest can bind many, and long ones.
inline constexpr std::size_t kMaxNamesShown = 16;

enum class EventKind : std::uint8_t {
  denied,   ///< A lookup, a flow or what it said first was refused.
  allowed,  ///< A lookup or a flow was let through, or what a flow said first.
  closed,   ///< A flow has ended.
};
std::string_view to_string(EventKind kind);  ///< "denied", "allowed", "closed"

/// A decision, or the end of a flow, as the operator sees it. Strings are complete; nothing refers
/// to the Network.
struct Event {
  EventKind kind = EventKind::denied;
  std::int64_t time_ns = 0;  ///< Wall clock, nanoseconds since the epoch.
  std::string guest;         ///< NetworkConfig::guest_name.
  FlowId flow = 0;           ///< 0: it came to none, as with lookups and what is refused at once.
  /// Where it was decided; of an end, where the flow began.
  Layer layer = Layer::syn;
  Protocol protocol = Protocol::tcp;
  Endpoint source;
  Endpoint destination;
  /// What the name index binds to the remote end, kMaxNamesShown at most; or the name asked.
  std::vector<std::string> names;
  /// The TLS server name or HTTP host; empty where there is none or it can't be read.
  std::string server_name;
  std::string rule;                    ///< What decided: `rule "allow@example.com" (--rule)`, or
                                       ///< what stands for one: "default deny", "unidentified",
                                       ///< "resolve-and-dial".
  std::optional<RuleInfo> decided_by;  ///< The same where it is a rule.
  std::uint64_t generation = 0;        ///< Of the policy; see PolicyInfo.
  std::string reason;                  ///< One phrase, e.g. "no rule allows it".
  bool is_fatal = false;               ///< A rule marked `deny!` decided.
  /// Like events (of this kind, layer, protocol, guest and destination) since the last of them
  /// that was reported.
  std::uint64_t suppressed = 0;

  // Of `closed` only.
  std::uint64_t tx_bytes = 0;  ///< Payload that the guest sent.
  std::uint64_t rx_bytes = 0;  ///< Payload that the guest was sent.
  std::chrono::nanoseconds duration{0};

  Action verdict() const { return kind == EventKind::denied ? Action::deny : Action::allow; }

  /// One line for a person, e.g.
  /// `denied tcp 192.168.127.2:4000 -> 1.2.3.4:80 (example.com): default deny: no rule allows it`;
  /// of a lookup: `denied lookup of example.com by 192.168.127.2: ...`. Control bytes are escaped,
  /// so a guest can't forge a line.
  std::string to_string() const;
};

/// An Event of kind `denied`.
using DenialEvent = Event;

}  // namespace sluice
