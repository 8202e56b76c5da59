#include "policy/name_map.h"

#include <algorithm>

namespace sluice::policy {

NameMap::NameMap(const std::vector<Rule>& rules, const std::vector<int>& indices) {
  using Lists = std::unordered_map<std::string_view, std::vector<int>>;
  Lists exact, suffix;
  for (int index : indices) {
    const Target& target = rules[static_cast<std::size_t>(index)].target;
    if (const auto* name = std::get_if<ExactName>(&target)) {
      exact[name->name.text()].push_back(index);
    } else if (const auto* zone = std::get_if<SuffixName>(&target)) {
      suffix[zone->zone.text()].push_back(index);
      longest_suffix_ = std::max(longest_suffix_, zone->zone.labels());
    }
  }
  auto fill = [&](const Lists& lists, Table& table) {
    table.reserve(lists.size());
    for (const auto& [name, list] : lists) table.emplace(name, PortMap(rules, list));
  };
  fill(exact, exact_);
  fill(suffix, suffix_);
}

template <typename Visit>
void NameMap::each_match(std::string_view name, Visit&& visit) const {
  if (auto at = exact_.find(name); at != exact_.end()) visit(at->second);
  if (suffix_.empty()) return;
  auto labels = 1 + std::count(name.begin(), name.end(), '.');
  for (; !name.empty(); --labels) {
    if (labels <= longest_suffix_) {
      if (auto at = suffix_.find(name); at != suffix_.end()) visit(at->second);
    }
    auto dot = name.find('.');
    if (dot == std::string_view::npos) return;
    name.remove_prefix(dot + 1);
  }
}

int NameMap::first(std::string_view name, Protocol protocol, Port port) const {
  int best = PortMap::kNone;
  each_match(name, [&](const PortMap& map) { best = std::min(best, map.first(protocol, port)); });
  return best;
}

int NameMap::first_whole(std::string_view name) const {
  int best = PortMap::kNone;
  each_match(name, [&](const PortMap& map) { best = std::min(best, map.first_whole()); });
  return best;
}

bool NameMap::covers(const Rule& rule, int index) const {
  bool covered = false;
  bool decides_lookups = rule.action == Action::allow || rule.is_whole();
  auto check = [&](const PortMap& map) {
    covered |= (!decides_lookups || map.first_whole() < index) && map.covers(rule, index);
  };
  if (const auto* exact = std::get_if<ExactName>(&rule.target)) {
    each_match(exact->name.text(), check);
  } else if (const auto* suffix = std::get_if<SuffixName>(&rule.target)) {
    for (DomainName zone = suffix->zone; !zone.is_root(); zone = zone.parent()) {
      if (auto at = suffix_.find(zone.text()); at != suffix_.end()) check(at->second);
    }
  }
  return covered;
}

}  // namespace sluice::policy
