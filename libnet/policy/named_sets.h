#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <net/status.h>

#include "policy/rule.h"
#include "policy/rule_parser.h"

namespace sluice::policy {

/// Names for lists of targets, for rules to be written on: `allow@set:mirrors:tcp:443`.
class NamedSets {
 public:
  /// Members of all sets together; more are refused.
  static constexpr std::size_t kMaxMembers = kMaxRules;

  /// Adds to the set of that name, and makes it if there is none. `members` is one target or
  /// several with commas between: names, suffixes, addresses and blocks. Protocol and ports are the
  /// rule's to say, and groups and other sets are no members. A name has 1 to 64 letters, digits,
  /// '-' and '_'. On an error nothing is added; it names the place as parse_rules() does.
  Status add(std::string_view name, const RuleSource& members, const ParseOptions& options = {});

  /// In the order in which they were added; nullptr: no such set.
  const std::vector<Target>* find(std::string_view name) const;
  /// "; did you mean 'x'?" for a name that is none of them, or what there is.
  std::string hint(std::string_view name) const;

 private:
  std::map<std::string, std::vector<Target>, std::less<>> sets_;
  std::size_t members_ = 0;
};

}  // namespace sluice::policy
