#pragma once

#include <optional>
#include <string>
#include <vector>

#include <net/status.h>

#include "policy/rule.h"

namespace sluice::policy {

/// A piece of rule text as it was given.
struct RuleSource {
  std::string text;    ///< One rule, or several with commas between.
  std::string origin;  ///< "--rule", a file's name; shown in errors and with each denial.
  int line = 0;        ///< From 1; 0 where lines make no sense.
  /// Set for `--allow` and `--deny`: the text begins at the target, `example.com` for
  /// `allow@example.com`.
  std::optional<Action> shorthand = std::nullopt;
  std::optional<IpPrefix> scope = std::nullopt;  ///< Of each rule here.
};

class NamedSets;

struct ParseOptions {
  /// Lets `*.com` be a target; without it a suffix has at least two labels.
  bool wide_suffix = false;
  /// What `set:NAME` may name; nullptr: there are no sets.
  const NamedSets* sets = nullptr;
};

/// The rules in `source`, in order:
///
///     rules     = rule *( "," rule )
///     rule      = action [ ":" direction ] "@" target [ ":" protocol [ ":" ports ] ]
///     action    = "allow" | "deny" [ "!" ]                ; deny! is fatal
///     direction = "egress" | "ingress" | "any"            ; egress where none is given
///     target    = address | block | name | "*." name | group | [ "@" ] "set:" setname
///     protocol  = "tcp" | "udp" | "icmp" | "any"
///     ports     = port | port "-" port | "any"
///
/// IPv6 goes in brackets: `[2001:db8::1]`, `[2001:db8::]/32`. A name of one label ends in a dot.
/// Blanks around a rule are ignored. A rule on a set becomes one rule for each of its members, so
/// that judging knows no sets; each says in its origin which set it comes from. The error is one
/// sentence with origin, line, column (from 1, in bytes of the text), the offending part, and the
/// nearest valid spelling where there is one.
Result<std::vector<Rule>> parse_rules(const RuleSource& source, const ParseOptions& options = {});

}  // namespace sluice::policy
