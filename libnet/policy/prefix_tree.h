#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <vector>

#include <net/address.h>

namespace sluice::policy {

/// Address blocks of both families, nested as they lie. Finds the most specific block around an
/// address by one binary search over the points where that block changes; the blocks around it
/// follow as its parents. Immutable once made, so any thread may read it.
class PrefixTree {
 public:
  static constexpr int kNone = -1;

  PrefixTree() = default;
  /// Duplicates become one node. Nodes are numbered from 0, parents before their children.
  explicit PrefixTree(std::vector<IpPrefix> prefixes);

  int size() const { return static_cast<int>(nodes_.size()); }
  const IpPrefix& prefix(int node) const { return nodes_[static_cast<std::size_t>(node)].prefix; }
  /// The next block around this one, or kNone.
  int parent(int node) const { return nodes_[static_cast<std::size_t>(node)].parent; }
  /// The most specific block that holds the address, or kNone.
  int find(const IpAddress& address) const;
  /// The node of exactly this block, or kNone.
  int find_exact(const IpPrefix& prefix) const;
  /// Whether every address of `block` has the same most specific block.
  bool is_uniform(const IpPrefix& block) const;

 private:
  struct Node {
    IpPrefix prefix;
    int parent = kNone;
  };
  /// An address as a number, high word first; an IPv4 address is all in the low one.
  using Key = std::array<std::uint64_t, 2>;
  /// From `start` up to the next step's start, `node` is the most specific block.
  struct Step {
    Key start;
    int node;
  };
  using Steps = std::vector<Step>;

  static Key key_of(const IpAddress& address);
  const Steps& steps(Family family) const { return family == Family::v4 ? v4_ : v6_; }
  static void begin_at(Steps& steps, const Key& start, int node);
  /// Index of the step that holds the address; -1 before the first.
  std::ptrdiff_t step_of(const IpAddress& address) const;

  std::vector<Node> nodes_;
  Steps v4_;
  Steps v6_;
};

}  // namespace sluice::policy
