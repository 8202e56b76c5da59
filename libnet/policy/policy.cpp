#include "policy/policy.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <set>

#include "policy/encrypted_dns.h"
#include "policy/rule_set.h"

namespace sluice::policy {

namespace {

constexpr int kNone = PortMap::kNone;

// What a one-line summary shows of a long list.
constexpr std::size_t kSummaryRules = 12;

std::size_t at(int index) {
  return static_cast<std::size_t>(index);
}

std::size_t at(Group group) {
  return static_cast<std::size_t>(group);
}

Basis basis_of(const Rule& rule) {
  return rule.is_on_name() ? Basis::name_rule : Basis::address_rule;
}

}  // namespace

Result<std::shared_ptr<const Policy>> Policy::compile(std::vector<Rule> rules, const HostView& host,
                                                      const CompileOptions& options) {
  if (rules.size() > kMaxRules) {
    return Status(StatusCode::exhausted, fmt::format("a policy has at most {} rules", kMaxRules));
  }
  std::set<IpPrefix> scopes;
  for (const Rule& rule : rules) {
    if (rule.scope) scopes.insert(*rule.scope);
  }
  if (scopes.size() > kMaxScopes) {
    return Status(StatusCode::exhausted, fmt::format("a policy has at most {} scopes", kMaxScopes));
  }
  return std::shared_ptr<const Policy>(new Policy(std::move(rules), host, options));
}

Policy::Policy(std::vector<Rule> rules, const HostView& host, const CompileOptions& options)
    : rules_(std::move(rules)), options_(options), gateways_(host.gateways), groups_(host) {
  for (const auto* list : {&host.gateways, &host.host_aliases}) {
    for (const IpAddress& address : *list) closed_blocks_.emplace_back(address, address.bits());
  }
  auto forms = transition_blocks();
  closed_blocks_.insert(closed_blocks_.end(), forms.begin(), forms.end());
  std::sort(closed_blocks_.begin(), closed_blocks_.end());

  compile_layers();
  for (const Layer& layer : layers_) needs_names_ |= layer.needs_names;
  needs_names_ |= options_.egress_default == Action::allow;
  guards_dns_ = options_.encrypted_dns == Action::deny &&
                std::any_of(rules_.begin(), rules_.end(), [](const Rule& rule) {
                  return rule.is_on_name() && rule.applies_to(Direction::egress);
                });
  find_shadowed();
}

void Policy::compile_layers() {
  std::vector<IpPrefix> scopes;
  for (const Rule& rule : rules_) {
    if (rule.scope) scopes.push_back(*rule.scope);
  }
  scopes_ = PrefixTree(std::move(scopes));
  std::vector<std::vector<int>> indices(1 + at(scopes_.size()));
  for (int i = 0; i < static_cast<int>(rules_.size()); ++i) {
    const auto& scope = rules_[at(i)].scope;
    indices[scope ? 1 + at(scopes_.find_exact(*scope)) : 0].push_back(i);
  }
  layers_.resize(indices.size());
  for (std::size_t i = 0; i < layers_.size(); ++i) compile_layer(layers_[i], indices[i]);
}

void Policy::compile_layer(Layer& layer, const std::vector<int>& indices) const {
  for (Direction direction : {Direction::egress, Direction::ingress}) {
    compile_side(layer.sides[static_cast<std::size_t>(direction)], indices, direction);
  }
  for (int i : indices) {
    const Rule& rule = rules_[at(i)];
    if (!rule.applies_to(Direction::egress)) continue;
    bool is_address = !rule.is_on_name() && !rule.is_on(Group::any) && !rule.is_on(Group::dns);
    if (is_address) layer.first_by_address_rule = std::min(layer.first_by_address_rule, i);
    if (rule.action != Action::allow || rule.is_on(Group::dns)) continue;
    layer.needs_names = true;
    if (is_address) layer.first_allow_by_address = std::min(layer.first_allow_by_address, i);
  }
}

void Policy::compile_side(Side& side, const std::vector<int>& indices, Direction direction) const {
  std::array<std::vector<int>, kGroupCount> allows, denies;
  std::vector<int> on_names, name_denies, on_blocks;
  for (int i : indices) {
    const Rule& rule = rules_[at(i)];
    if (!rule.applies_to(direction)) continue;
    if (const Group* group = std::get_if<Group>(&rule.target)) {
      (rule.action == Action::allow ? allows : denies)[at(*group)].push_back(i);
    } else if (rule.is_on_name()) {
      on_names.push_back(i);
      if (rule.action == Action::deny) name_denies.push_back(i);
    } else {
      on_blocks.push_back(i);
    }
  }
  for (std::size_t group = 0; group < kGroupCount; ++group) {
    side.group_allows[group] = PortMap(rules_, allows[group]);
    side.group_denies[group] = PortMap(rules_, denies[group]);
  }
  side.names = NameMap(rules_, on_names);
  side.denied_names = NameMap(rules_, name_denies);
  side.name_denies = PortMap(rules_, name_denies);
  compile_blocks(side, on_blocks);
}

void Policy::compile_blocks(Side& side, const std::vector<int>& indices) const {
  std::vector<IpPrefix> blocks = closed_blocks_;
  for (int i : indices) blocks.push_back(std::get<IpPrefix>(rules_[at(i)].target));
  side.blocks = PrefixTree(std::move(blocks));

  auto count = at(side.blocks.size());
  std::vector<std::vector<int>> own(count), lists(count);
  for (int i : indices) {
    own[at(side.blocks.find_exact(std::get<IpPrefix>(rules_[at(i)].target)))].push_back(i);
  }
  side.around.resize(count);
  for (int node = 0; node < side.blocks.size(); ++node) {
    int parent = side.blocks.parent(node);
    side.around[at(node)] = parent;
    lists[at(node)] = own[at(node)];
    if (!std::binary_search(closed_blocks_.begin(), closed_blocks_.end(),
                            side.blocks.prefix(node))) {
      continue;
    }
    // A closed block takes the denies from all around it, and ends the walk outward. A block closed
    // around this one has taken its own already: the walk over parents sees every list once.
    side.around[at(node)] = PrefixTree::kNone;
    for (int out = parent; out != PrefixTree::kNone; out = side.blocks.parent(out)) {
      for (int i : own[at(out)]) {
        if (rules_[at(i)].action == Action::deny) lists[at(node)].push_back(i);
      }
    }
    std::sort(lists[at(node)].begin(), lists[at(node)].end());
  }
  side.block_rules.reserve(count);
  for (const auto& list : lists) side.block_rules.emplace_back(rules_, list);
}

template <typename Visit>
void Policy::each_layer(const std::optional<IpAddress>& inner, Visit&& visit) const {
  visit(layers_.front());
  if (!inner || layers_.size() == 1) return;
  for (int node = scopes_.find(*inner); node != PrefixTree::kNone; node = scopes_.parent(node)) {
    visit(layers_[1 + at(node)]);
  }
}

template <typename RuleOf>
int Policy::first_in_layers(const std::optional<IpAddress>& inner, RuleOf&& rule_of) const {
  int best = kNone;
  each_layer(inner, [&](const Layer& layer) { best = std::min(best, rule_of(layer)); });
  return best;
}

struct Policy::Place {
  Place(const IpAddress& where, const GroupMap& map)
      : address(where), embedded(embedded_v4(where)), groups(map.groups_of(where)) {}

  IpAddress address;
  std::optional<Embedded> embedded;
  Membership groups;
};

bool Policy::is_dns_service(const Query& query) const {
  bool is_port = query.port == Port(53) || query.port == Port(853);
  return query.direction == Direction::egress && is_port && query.protocol != Protocol::icmp &&
         std::find(gateways_.begin(), gateways_.end(), query.remote) != gateways_.end();
}

template <typename RuleOf>
int Policy::first_by_block(const Side& side, const IpAddress& address, RuleOf&& rule_of) const {
  int best = kNone;
  for (int node = side.blocks.find(address); node != PrefixTree::kNone;
       node = side.around[at(node)]) {
    best = std::min(best, rule_of(side.block_rules[at(node)]));
  }
  return best;
}

template <typename RuleOf>
int Policy::first_by_address(const Side& side, const Place& place, RuleOf&& rule_of) const {
  int best = first_by_block(side, place.address, rule_of);
  if (place.embedded) {
    best = std::min(best, first_by_block(side, place.embedded->inner, rule_of));
  }
  auto each = [&](GroupSet set, const std::array<PortMap, kGroupCount>& maps) {
    for (std::uint32_t bits = set.bits(); bits != 0; bits &= bits - 1) {
      best = std::min(best, rule_of(maps[at(std::countr_zero(bits))]));
    }
  };
  each(place.groups.for_allow, side.group_allows);
  each(place.groups.for_deny, side.group_denies);
  return best;
}

int Policy::first_by_name(const Side& side, const Query& query) const {
  int best = kNone;
  if (query.names == nullptr || side.names.empty()) return best;
  query.names->each_name(query.remote, query.now, [&](std::string_view name) {
    best = std::min(best, side.names.first(name, query.protocol, query.port));
    return true;
  });
  return best;
}

std::optional<Verdict> Policy::judge_unbound(const DomainName& name, Protocol protocol, Port port,
                                             const std::optional<IpAddress>& inner) const {
  int by_address = kNone;
  int first = first_in_layers(inner, [&](const Layer& layer) {
    const Side& rules = layer.side(Direction::egress);
    by_address = std::min(by_address, layer.first_by_address_rule);
    return std::min({rules.names.first(name.text(), protocol, port),
                     rules.group_allows[at(Group::any)].first(protocol, port),
                     rules.group_denies[at(Group::any)].first(protocol, port)});
  });
  if (by_address < first) return std::nullopt;
  return verdict_of(first, Direction::egress);
}

Verdict Policy::verdict_of(int rule, Direction direction) const {
  if (rule == kNone) return {default_of(direction), -1, Basis::default_action};
  return {rules_[at(rule)].action, rule, basis_of(rules_[at(rule)])};
}

Decision Policy::judge(const Query& query) const {
  auto matching = [&](const PortMap& map) { return map.first(query.protocol, query.port); };
  if (is_dns_service(query)) {
    bool needs_names = options_.egress_default == Action::allow;
    int on_dns = first_in_layers(query.inner, [&](const Layer& layer) {
      const Side& rules = layer.side(query.direction);
      needs_names |= layer.needs_names;
      return std::min(matching(rules.group_allows[at(Group::dns)]),
                      matching(rules.group_denies[at(Group::dns)]));
    });
    if (on_dns != kNone) return {verdict_of(on_dns, query.direction)};
    if (needs_names) return {{Action::allow, -1, Basis::dns_service}};
  }
  Place place(query.remote, groups_);
  int name_deny = kNone;
  int first = first_in_layers(query.inner, [&](const Layer& layer) {
    const Side& rules = layer.side(query.direction);
    name_deny = std::min(name_deny, matching(rules.name_denies));
    return std::min(first_by_address(rules, place, matching), first_by_name(rules, query));
  });
  Decision decision{guarded(verdict_of(first, query.direction), query)};
  if (decision.allowed() && query.protocol != Protocol::icmp) {
    decision.name_is_decisive = decision.verdict.basis == Basis::name_rule || name_deny < first;
  }
  return decision;
}

Decision Policy::judge_named(const Query& query, const DomainName& name) const {
  bool is_bound = query.names && query.names->is_bound(name, query.remote, query.now);
  auto matching = [&](const PortMap& map) { return map.first(query.protocol, query.port); };
  Place place(query.remote, groups_);
  int first = first_in_layers(query.inner, [&](const Layer& layer) {
    const Side& rules = layer.side(query.direction);
    const NameMap& by_name = is_bound ? rules.names : rules.denied_names;
    return std::min(first_by_address(rules, place, matching),
                    by_name.first(name.text(), query.protocol, query.port));
  });
  return {guarded(verdict_of(first, query.direction), name, query.inner), true};
}

Verdict Policy::judge_lookup(const DomainName& name, const std::optional<IpAddress>& inner) const {
  int first = first_in_layers(inner, [&](const Layer& layer) {
    const Side& rules = layer.side(Direction::egress);
    return std::min({rules.names.first_whole(name.text()), layer.first_allow_by_address,
                     rules.group_allows[at(Group::any)].first_whole(),
                     rules.group_denies[at(Group::any)].first_whole()});
  });
  return guarded(verdict_of(first, Direction::egress), name, inner);
}

Verdict Policy::guarded(const Verdict& verdict, const DomainName& name,
                        const std::optional<IpAddress>& inner) const {
  if (!guards_dns_ || !verdict.allowed() || !is_encrypted_dns_host(name)) return verdict;
  int named = first_in_layers(inner, [&](const Layer& layer) {
    return layer.side(Direction::egress).names.first_whole(name.text());
  });
  return named == kNone ? Verdict{Action::deny, -1, Basis::encrypted_dns} : verdict;
}

Verdict Policy::guarded(const Verdict& verdict, const Query& query) const {
  bool is_encrypted_dns = query.direction == Direction::egress && query.port == kEncryptedDnsPort &&
                          query.protocol != Protocol::icmp;
  if (!guards_dns_ || !verdict.allowed() || !is_encrypted_dns) return verdict;
  if (verdict.rule >= 0) {
    const Rule& rule = rules_[at(verdict.rule)];
    const auto* block = std::get_if<IpPrefix>(&rule.target);
    bool is_one_address = block && block->length() == block->address().bits();
    if (rule.is_on_name() || is_one_address || !rule.ports.is_all()) return verdict;
  }
  return {Action::deny, -1, Basis::encrypted_dns};
}

bool Policy::answer_allowed(const DomainName& name, const IpAddress& address,
                            const std::optional<IpAddress>& inner) const {
  if (!judge_lookup(name, inner).allowed()) return false;
  Place place(address, groups_);
  int by_name = kNone;
  int by_address = first_in_layers(inner, [&](const Layer& layer) {
    const Side& rules = layer.side(Direction::egress);
    by_name = std::min(by_name, rules.names.first_whole(name.text()));
    return first_by_address(rules, place, [](const PortMap& map) { return map.first_whole(); });
  });
  bool is_public = place.groups.for_allow.has(Group::public_);
  if (by_name < by_address) {
    if (rules_[at(by_name)].action == Action::deny) return false;
    if (is_public) return true;
  }
  if (by_address != kNone) return rules_[at(by_address)].action == Action::allow;
  return options_.egress_default == Action::allow && is_public;
}

void Policy::find_shadowed() {
  for (int i = 0; i < static_cast<int>(rules_.size()); ++i) {
    const Rule& rule = rules_[at(i)];
    bool shadowed = true;
    for (Direction direction : {Direction::egress, Direction::ingress}) {
      if (!rule.applies_to(direction)) continue;
      bool in_any_layer = false;
      auto look = [&](const Layer& layer) {
        in_any_layer |= is_shadowed(layer.side(direction), i);
      };
      look(layers_.front());
      int scope = rule.scope ? scopes_.find_exact(*rule.scope) : PrefixTree::kNone;
      for (; scope != PrefixTree::kNone; scope = scopes_.parent(scope))
        look(layers_[1 + at(scope)]);
      shadowed &= in_any_layer;
    }
    if (!shadowed) continue;
    warnings_.push_back({i, fmt::format("{}: '{}' never decides: rules before it match all that it "
                                        "does",
                                        rule.origin.to_string(), rule.to_string())});
  }
}

bool Policy::is_shadowed(const Side& side, int index) const {
  const Rule& rule = rules_[at(index)];
  auto covers = [&](const PortMap& map) { return map.covers(rule, index); };
  // The rules on `dns` are asked before all others, so only their like can hide them. A deny on a
  // group is wider than an allow on it, see Membership.
  auto group_covers = [&](Group group) {
    bool is_as_wide = rule.action == Action::allow || group == Group::any || group == Group::dns;
    return covers(side.group_denies[at(group)]) ||
           (is_as_wide && covers(side.group_allows[at(group)]));
  };
  if (rule.is_on(Group::dns)) return group_covers(Group::dns);
  if (rule.is_on_name()) {
    bool decides_lookups = rule.action == Action::allow || rule.is_whole();
    int any_lookup = std::min(side.group_allows[at(Group::any)].first_whole(),
                              side.group_denies[at(Group::any)].first_whole());
    if (group_covers(Group::any) && (!decides_lookups || any_lookup < index)) return true;
    return side.names.covers(rule, index);
  }
  if (group_covers(Group::any)) return true;
  if (const Group* group = std::get_if<Group>(&rule.target)) return group_covers(*group);
  const auto& block = std::get<IpPrefix>(rule.target);
  bool has_closed_inside = std::any_of(
      closed_blocks_.begin(), closed_blocks_.end(),
      [&](const IpPrefix& closed) { return closed != block && block.contains(closed.address()); });
  // An allow around this block does not reach the closed ones in it, a deny does.
  if (rule.action == Action::deny && has_closed_inside) return false;
  // Of another scope's layer, the block itself may be no node.
  int narrowest = side.blocks.find(block.address());
  while (narrowest != PrefixTree::kNone &&
         side.blocks.prefix(narrowest).length() > block.length()) {
    narrowest = side.blocks.parent(narrowest);
  }
  for (int node = narrowest; node != PrefixTree::kNone; node = side.around[at(node)]) {
    if (covers(side.block_rules[at(node)])) return true;
  }
  auto groups = groups_.groups_of_block(block);
  if (!groups) return false;
  auto any_covers = [&](GroupSet set, const std::array<PortMap, kGroupCount>& maps) {
    for (std::uint32_t bits = set.bits(); bits != 0; bits &= bits - 1) {
      if (covers(maps[at(std::countr_zero(bits))])) return true;
    }
    return false;
  };
  return any_covers(groups->for_allow, side.group_allows) ||
         any_covers(groups->for_deny, side.group_denies);
}

const Rule* Policy::rule_of(const Verdict& verdict) const {
  bool is_ours = verdict.rule >= 0 && at(verdict.rule) < rules_.size();
  return is_ours ? &rules_[at(verdict.rule)] : nullptr;
}

std::string Policy::describe(const Verdict& verdict) const {
  if (const Rule* rule = rule_of(verdict)) {
    std::string place = rule->origin.to_string();
    if (rule->scope) place += ", for " + rule->scope->to_string();
    return fmt::format("rule \"{}\" ({})", rule->to_string(), place);
  }
  if (verdict.basis == Basis::dns_service) return "the gateway's DNS service";
  if (verdict.basis == Basis::encrypted_dns) return "policy.encrypted-dns";
  return fmt::format("default {}", to_string(verdict.action));
}

bool Policy::is_fatal(const Verdict& verdict) const {
  const Rule* rule = rule_of(verdict);
  return rule && rule->is_fatal;
}

std::string Policy::summary() const {
  std::string line;
  for (std::size_t i = 0; i < rules_.size() && i < kSummaryRules; ++i) {
    line += rules_[i].to_string();
    if (rules_[i].scope) line += " for " + rules_[i].scope->to_string();
    line += ", ";
  }
  if (rules_.size() > kSummaryRules) {
    line += fmt::format("... {} more, ", rules_.size() - kSummaryRules);
  }
  return fmt::format("{}else {} egress, {} ingress; dns {}", line,
                     to_string(options_.egress_default), to_string(options_.ingress_default),
                     needs_names_ ? "on" : "off");
}

}  // namespace sluice::policy
