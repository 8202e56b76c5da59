#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <net/status.h>

#include "policy/rule_parser.h"

namespace sluice::policy {

/// The profiles, by name: none, public, private, host, all.
std::span<const std::string_view> profile_names();

/// Some members of a named set; those of one name add up.
struct SetSource {
  std::string name;
  RuleSource members;  ///< See NamedSets::add().
};

/// Everything that a policy is made from, as the operator gave it.
struct RuleInputs {
  std::vector<RuleSource> command_line;  ///< `--rule`, `--allow`, `--deny`, in the order written.
  std::vector<RuleSource> config;
  std::vector<RuleSource> presets;
  /// `--profile`; several with commas between. Nothing: see assemble_rules().
  std::optional<std::string> profile;
  std::vector<SetSource> sets;
  bool wide_suffix = false;  ///< See ParseOptions.
};

/// The one ordered list: command line, then config, then presets, then profile. Without a profile,
/// `none` is meant where some rule allows egress (the operator has begun to list what is allowed),
/// and `public` where none does: no rules at all, or only what is to be taken away from the
/// default.
Result<std::vector<Rule>> assemble_rules(const RuleInputs& inputs);

}  // namespace sluice::policy
