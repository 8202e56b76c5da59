#include "policy/prefix_tree.h"

#include <algorithm>

#include "base/bytes.h"

namespace sluice::policy {

namespace {

/// The number after `key`; zero after the last one.
std::array<std::uint64_t, 2> next(std::array<std::uint64_t, 2> key) {
  if (++key[1] == 0) ++key[0];
  return key;
}

}  // namespace

PrefixTree::Key PrefixTree::key_of(const IpAddress& address) {
  if (address.is_v4()) return {0, address.v4_value()};
  auto bytes = address.bytes();
  return {load_be64(bytes.data()), load_be64(bytes.data() + 8)};
}

void PrefixTree::begin_at(Steps& steps, const Key& start, int node) {
  if (!steps.empty() && steps.back().start == start) {
    steps.back().node = node;
  } else {
    steps.push_back({start, node});
  }
}

PrefixTree::PrefixTree(std::vector<IpPrefix> prefixes) {
  // By address, then by length: a block comes before all that lie in it.
  std::sort(prefixes.begin(), prefixes.end());
  prefixes.erase(std::unique(prefixes.begin(), prefixes.end()), prefixes.end());
  nodes_.reserve(prefixes.size());

  std::vector<int> open;  // The blocks around the current point, outermost first.
  auto close = [&] {
    const IpPrefix& ended = prefix(open.back());
    open.pop_back();
    Steps& steps = ended.family() == Family::v4 ? v4_ : v6_;
    Key after = next(key_of(ended.last()));
    bool at_end = ended.family() == Family::v4 ? after[1] > 0xffffffff : after == Key{};
    if (!at_end) begin_at(steps, after, open.empty() ? kNone : open.back());
  };
  for (const IpPrefix& block : prefixes) {
    while (!open.empty() && !prefix(open.back()).contains(block.address())) close();
    int node = size();
    nodes_.push_back({block, open.empty() ? kNone : open.back()});
    begin_at(block.family() == Family::v4 ? v4_ : v6_, key_of(block.address()), node);
    open.push_back(node);
  }
  while (!open.empty()) close();
}

std::ptrdiff_t PrefixTree::step_of(const IpAddress& address) const {
  const Steps& in = steps(address.family());
  Key key = key_of(address);
  auto after = std::upper_bound(in.begin(), in.end(), key,
                                [](const Key& k, const Step& step) { return k < step.start; });
  return after - in.begin() - 1;
}

int PrefixTree::find(const IpAddress& address) const {
  std::ptrdiff_t step = step_of(address);
  return step < 0 ? kNone : steps(address.family())[static_cast<std::size_t>(step)].node;
}

int PrefixTree::find_exact(const IpPrefix& prefix) const {
  auto at = std::lower_bound(nodes_.begin(), nodes_.end(), prefix,
                             [](const Node& node, const IpPrefix& p) { return node.prefix < p; });
  if (at == nodes_.end() || at->prefix != prefix) return kNone;
  return static_cast<int>(at - nodes_.begin());
}

bool PrefixTree::is_uniform(const IpPrefix& block) const {
  return step_of(block.address()) == step_of(block.last());
}

}  // namespace sluice::policy
