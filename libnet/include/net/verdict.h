#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <net/address.h>
#include <net/name.h>

namespace sluice {

enum class Action : std::uint8_t { deny, allow };
enum class Direction : std::uint8_t { egress, ingress };

/// Where a decision was taken.
enum class Layer : std::uint8_t { dns, syn, udp, icmp, ingress };

/// Allow or deny, with the rule that decided and the reason.
struct Verdict {
  Action action = Action::deny;
  /// Index into the policy's rules, in order; -1: the default of the direction.
  int rule = -1;

  bool allowed() const { return action == Action::allow; }
};

/// A refusal, as the operator sees it. Strings are complete; nothing refers to the Network.
struct DenialEvent {
  std::int64_t time_ns = 0;  ///< Wall clock, nanoseconds since the epoch.
  Layer layer = Layer::syn;
  Protocol protocol = Protocol::tcp;
  Endpoint source;
  Endpoint destination;
  std::vector<std::string> names;  ///< What the name index binds to the destination, or was asked.
  std::string rule;                ///< The rule's text, or "default deny".
  std::string reason;              ///< One phrase, e.g. "no rule allows it".
  std::uint64_t suppressed = 0;    ///< Like refusals not reported since the last one reported.

  /// One line for a person: `denied tcp 192.168.127.2:4000 -> 1.2.3.4:80 (name): rule "...", why`.
  std::string to_string() const;
};

}  // namespace sluice
