#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include <net/address.h>
#include <net/name.h>
#include <net/verdict.h>

#include "policy/group.h"

namespace sluice::policy {

/// More rules than this are refused: a bound on what a config file can make us hold.
inline constexpr std::size_t kMaxRules = 100'000;

/// An inclusive range; the default is every port.
struct PortRange {
  Port first = Port(0);
  Port last = Port(65535);

  bool contains(Port port) const { return first <= port && port <= last; }
  bool is_all() const { return *this == PortRange(); }
  friend bool operator==(const PortRange&, const PortRange&) = default;
};

/// Which protocols a rule is about.
enum class RuleProtocol : std::uint8_t { any, tcp, udp, icmp };
/// Which directions a rule is about.
enum class RuleDirection : std::uint8_t { egress, ingress, any };

/// Exactly this name.
struct ExactName {
  DomainName name;
  friend bool operator==(const ExactName&, const ExactName&) = default;
};
/// `*.zone`: the apex and everything below it.
struct SuffixName {
  DomainName zone;
  friend bool operator==(const SuffixName&, const SuffixName&) = default;
};

using Target = std::variant<Group, IpPrefix, ExactName, SuffixName>;

/// Where a rule was written.
struct Origin {
  std::string source;  ///< "--rule", a file name, "profile public".
  int line = 0;        ///< From 1; 0 where lines make no sense.
  std::string set;     ///< The named set that the rule was written on; empty: none.

  /// "policy.toml, line 12, set mirrors"
  std::string to_string() const;
  friend bool operator==(const Origin&, const Origin&) = default;
};

/// `<action>[:<direction>]@<target>[:<proto>[:<ports>]]`
struct Rule {
  Action action = Action::deny;
  /// `deny!`: what it denies is a violation, see NetworkConfig::on_violation.
  bool is_fatal = false;
  RuleDirection direction = RuleDirection::egress;
  Target target = Group::any;
  RuleProtocol protocol = RuleProtocol::any;
  PortRange ports;
  /// It counts for these addresses behind the guest's NIC (the guest's own, a container's) alone;
  /// nothing: for all.
  std::optional<IpPrefix> scope;
  Origin origin;

  /// Whether it is about this protocol and port. A rule that names ports is not about ICMP.
  bool matches(Protocol wanted, Port port) const;
  bool applies_to(Direction wanted) const;
  /// Whether it is about every protocol and port.
  bool is_whole() const { return protocol == RuleProtocol::any && ports.is_all(); }
  bool is_on_name() const;
  bool is_on(Group group) const;
  /// The shortest spelling that parses to the same rule; origin and scope are left out.
  std::string to_string() const;
};

}  // namespace sluice::policy
