#pragma once

#include <cstdint>
#include <vector>

#include <net/address.h>
#include <net/verdict.h>

#include "policy/rule.h"

namespace sluice::policy {

/// The rules on one target, ready to answer "which is the first that matches this protocol and
/// port" by binary search over the ports where the answer changes. Immutable once made.
class PortMap {
 public:
  /// No rule. Greater than every index, so that the first match is a plain minimum.
  static constexpr int kNone = INT32_MAX;

  PortMap() = default;
  /// `indices` into `rules`, ascending.
  PortMap(const std::vector<Rule>& rules, const std::vector<int>& indices);

  /// The first rule that matches, or kNone. `port` counts for TCP and UDP only.
  int first(Protocol protocol, Port port) const;
  /// The first of all the rules here.
  int lowest() const { return lowest_; }
  /// The first that is an allow, or a deny of every protocol and port: what decides whether the
  /// target can be reached at all.
  int first_whole() const { return first_whole_; }
  /// Whether each protocol and port of `rule` is matched here by a rule before `index`.
  bool covers(const Rule& rule, int index) const;

 private:
  /// From `from` up to the next step, `rule` is the first that matches.
  struct Step {
    std::uint16_t from;
    int rule;
  };
  using Steps = std::vector<Step>;

  static Steps make_steps(const std::vector<Rule>& rules, const std::vector<int>& indices,
                          Protocol protocol);
  static int at(const Steps& steps, Port port);

  Steps tcp_;
  Steps udp_;
  int icmp_ = kNone;
  int lowest_ = kNone;
  int first_whole_ = kNone;
};

}  // namespace sluice::policy
