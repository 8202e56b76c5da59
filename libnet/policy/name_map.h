#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "policy/port_map.h"
#include "policy/rule.h"

namespace sluice::policy {

/// The name rules of one direction: hash tables for exact names and for suffixes. A question costs
/// one look-up per label, and no more labels than the longest suffix rule has. Immutable once made.
class NameMap {
 public:
  NameMap() = default;
  /// `indices` into `rules`, ascending; those that are on no name are passed over.
  NameMap(const std::vector<Rule>& rules, const std::vector<int>& indices);

  bool empty() const { return exact_.empty() && suffix_.empty(); }
  /// The first rule on `name` (in DomainName's normal form) that matches, or PortMap::kNone.
  int first(std::string_view name, Protocol protocol, Port port) const;
  /// The first rule on `name` that is an allow, or a deny of every protocol and port.
  int first_whole(std::string_view name) const;
  /// Whether a rule before `index` is on the same names or more, protocols and ports included.
  bool covers(const Rule& rule, int index) const;

 private:
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const {
      return std::hash<std::string_view>()(text);
    }
  };
  using Table = std::unordered_map<std::string, PortMap, Hash, std::equal_to<>>;

  /// Calls `visit` with the rules on the exact name and on each suffix that it is in.
  template <typename Visit>
  void each_match(std::string_view name, Visit&& visit) const;

  Table exact_;
  Table suffix_;
  int longest_suffix_ = 0;  // In labels.
};

}  // namespace sluice::policy
