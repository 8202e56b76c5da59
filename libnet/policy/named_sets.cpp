#include "policy/named_sets.h"

#include <fmt/format.h>

#include "policy/spelling.h"

namespace sluice::policy {

namespace {

constexpr std::size_t kLongestName = 64;

bool is_name(std::string_view text) {
  return !text.empty() && text.size() <= kLongestName &&
         text.find_first_not_of(
             "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") ==
             std::string_view::npos;
}

}  // namespace

Status NamedSets::add(std::string_view name, const RuleSource& members,
                      const ParseOptions& options) {
  std::string where = Origin{members.origin, members.line, {}}.to_string();
  if (!is_name(name)) {
    return Status(StatusCode::invalid_argument,
                  fmt::format("{}: a set's name has 1 to {} letters, digits, '-' and '_'", where,
                              kLongestName));
  }
  RuleSource targets = members;
  targets.shorthand = Action::allow;
  auto rules = parse_rules(targets, {.wide_suffix = options.wide_suffix});
  if (!rules) return rules.status();
  for (const Rule& rule : *rules) {
    if (std::holds_alternative<Group>(rule.target)) {
      return Status(StatusCode::invalid_argument,
                    fmt::format("{}: set {}: '{}' is a group; a set has names, suffixes, addresses "
                                "and blocks",
                                where, name, rule.to_string().substr(6)));
    }
    if (!rule.is_whole()) {
      return Status(
          StatusCode::invalid_argument,
          fmt::format("{}: set {}: '{}' has a protocol; the rule on the set says that, as "
                      "in 'allow@set:{}:tcp:443'",
                      where, name, rule.to_string().substr(6), name));
    }
  }
  if (members_ + rules->size() > kMaxMembers) {
    return Status(StatusCode::exhausted,
                  fmt::format("{}: more than {} members of sets", where, kMaxMembers));
  }
  std::vector<Target>& set = sets_.try_emplace(std::string(name)).first->second;
  for (Rule& rule : *rules) set.push_back(std::move(rule.target));
  members_ += rules->size();
  return Status::ok();
}

const std::vector<Target>* NamedSets::find(std::string_view name) const {
  auto at = sets_.find(name);
  return at == sets_.end() ? nullptr : &at->second;
}

std::string NamedSets::hint(std::string_view name) const {
  if (sets_.empty()) return "; none is defined";
  std::vector<std::string_view> names;
  for (const auto& [known, members] : sets_) names.push_back(known);
  return spelling_hint(name, names);
}

}  // namespace sluice::policy
