#include "policy/rule_set.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "policy/named_sets.h"
#include "policy/spelling.h"

namespace sluice::policy {

namespace {

struct Profile {
  std::string_view name;
  std::string_view rules;
};

// The default of egress is deny, so a profile only says what it opens. DNS needs no rule: the
// gateway's DNS ports are open wherever a rule needs names.
constexpr std::array<Profile, 5> kProfiles = {{{"none", ""},
                                               {"public", "allow@public"},
                                               {"private", "allow@private"},
                                               {"host", "allow@host"},
                                               {"all", "allow@any"}}};

constexpr auto kProfileNames = [] {
  std::array<std::string_view, kProfiles.size()> names;
  for (std::size_t i = 0; i < names.size(); ++i) names[i] = kProfiles[i].name;
  return names;
}();

bool allows_egress(const std::vector<Rule>& rules) {
  return std::any_of(rules.begin(), rules.end(), [](const Rule& rule) {
    return rule.action == Action::allow && rule.applies_to(Direction::egress);
  });
}

Status append(const RuleSource& source, const ParseOptions& options, std::vector<Rule>& rules) {
  auto parsed = parse_rules(source, options);
  if (!parsed) return parsed.status();
  if (rules.size() + parsed->size() > kMaxRules) {
    return Status(StatusCode::exhausted,
                  fmt::format("{}: more than {} rules", source.origin, kMaxRules));
  }
  std::move(parsed->begin(), parsed->end(), std::back_inserter(rules));
  return Status::ok();
}

Status append_profiles(std::string_view list, std::vector<Rule>& rules) {
  std::size_t start = 0;
  while (true) {
    auto comma = list.find(',', start);
    std::string_view name = list.substr(start, comma - start);
    auto at = std::find_if(kProfiles.begin(), kProfiles.end(),
                           [&](const Profile& profile) { return profile.name == name; });
    if (at == kProfiles.end()) {
      return Status(StatusCode::invalid_argument,
                    fmt::format("--profile, column {}: '{}' is not a profile{}", start + 1, name,
                                spelling_hint(name, kProfileNames)));
    }
    if (!at->rules.empty()) {
      RuleSource source{std::string(at->rules), fmt::format("profile {}", name)};
      if (Status status = append(source, {}, rules); !status) return status;
    }
    if (comma == std::string_view::npos) return Status::ok();
    start = comma + 1;
  }
}

}  // namespace

std::span<const std::string_view> profile_names() {
  return kProfileNames;
}

Result<std::vector<Rule>> assemble_rules(const RuleInputs& inputs) {
  ParseOptions options{.wide_suffix = inputs.wide_suffix};
  NamedSets sets;
  for (const SetSource& source : inputs.sets) {
    if (Status status = sets.add(source.name, source.members, options); !status) return status;
  }
  options.sets = &sets;
  std::vector<Rule> rules;
  for (const auto* list : {&inputs.command_line, &inputs.config, &inputs.presets}) {
    for (const RuleSource& source : *list) {
      if (Status status = append(source, options, rules); !status) return status;
    }
  }
  std::string_view profile = inputs.profile         ? std::string_view(*inputs.profile)
                             : allows_egress(rules) ? std::string_view("none")
                                                    : std::string_view("public");
  if (Status status = append_profiles(profile, rules); !status) return status;
  return rules;
}

}  // namespace sluice::policy
