#include "core/policy_source.h"

#include <utility>
#include <vector>

#include "policy/rule_set.h"

namespace sluice::core {

namespace {

std::vector<policy::RuleSource> sources_of(const std::vector<RuleText>& rules, RuleOrigin origin) {
  std::vector<policy::RuleSource> sources;
  for (const RuleText& rule : rules) {
    if (rule.origin != origin) continue;
    sources.push_back({rule.text, rule.where, rule.line, rule.shorthand, rule.scope});
  }
  return sources;
}

}  // namespace

policy::HostView make_host_view(const gateway::Config& config, const HostRoutesSnapshot& host) {
  policy::HostView view;
  view.addresses = host.addresses;
  view.on_link = host.on_link;
  view.gateways = {config.gateway4, config.gateway6};
  view.host_aliases = {config.host_alias4};
  if (config.host_alias6) view.host_aliases.push_back(*config.host_alias6);
  view.guest_subnets = {config.subnet4, config.prefix6};
  view.guest_subnets.insert(view.guest_subnets.end(), config.routed.begin(), config.routed.end());
  return view;
}

Result<std::shared_ptr<const policy::Policy>> compile_policy(const PolicyText& text,
                                                             const policy::HostView& view,
                                                             std::uint64_t generation) {
  policy::RuleInputs inputs{.command_line = sources_of(text.rules, RuleOrigin::command_line),
                            .config = sources_of(text.rules, RuleOrigin::config),
                            .presets = sources_of(text.rules, RuleOrigin::preset),
                            .profile = text.profile,
                            .wide_suffix = text.wide_suffix};
  for (const SetText& set : text.sets) {
    inputs.sets.push_back({set.name, {set.members, set.where, set.line}});
  }
  auto rules = policy::assemble_rules(inputs);
  if (!rules) return rules.status();
  return policy::Policy::compile(std::move(*rules), view,
                                 {.generation = generation, .encrypted_dns = text.encrypted_dns});
}

}  // namespace sluice::core
