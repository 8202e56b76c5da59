#pragma once

#include <cstdint>
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

/// A refusal, as the operator sees it. Strings are complete; nothing refers to the Network.
struct DenialEvent {
  std::int64_t time_ns = 0;  ///< Wall clock, nanoseconds since the epoch.
  Layer layer = Layer::syn;
  Protocol protocol = Protocol::tcp;
  Endpoint source;
  Endpoint destination;
  std::vector<std::string> names;  ///< What the name index binds to the destination, or was asked.
  /// Of layer first_flight: the TLS server name or HTTP host; empty where it can't be read.
  std::string server_name;
  std::string rule;              ///< The rule's text, or "default deny".
  std::string reason;            ///< One phrase, e.g. "no rule allows it".
  bool is_fatal = false;         ///< A rule marked `deny!` decided.
  std::uint64_t suppressed = 0;  ///< Like refusals not reported since the last one reported.

  /// One line for a person, e.g.
  /// `denied tcp 192.168.127.2:4000 -> 1.2.3.4:80 (example.com): default deny: no rule allows it`;
  /// of a lookup: `denied lookup of example.com by 192.168.127.2: ...`. Control bytes are escaped,
  /// so a guest can't forge a line.
  std::string to_string() const;
};

}  // namespace sluice
