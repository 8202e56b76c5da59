#include "core/flow_list.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "base/hash.h"
#include "core/destination.h"

namespace sluice::core {

namespace {

/// Which flows go where somebody asks for.
class Search {
 public:
  explicit Search(Destination to) : to_(std::move(to)) {}

  bool holds(const flow::FlowSight& sight, const policy::NameIndex& names, TimePoint now) {
    if (auto decided = to_.holds(sight.remote.address)) return *decided;
    if (sight.name && to_.holds_name(sight.name->text())) return true;
    // Many flows go to few addresses.
    auto [known, is_new] = bound_.try_emplace(sight.remote.address, false);
    if (is_new) {
      names.each_name(sight.remote.address, now, [&](std::string_view name) {
        known->second = to_.holds_name(name);
        return !known->second;
      });
    }
    return known->second;
  }

 private:
  Destination to_;
  std::unordered_map<IpAddress, bool> bound_;
};

}  // namespace

Result<FlowPage> FlowList::page(const FlowFilter& filter) const {
  auto to = Destination::parse(filter.to);
  if (!to) return to.status();
  Search search(std::move(*to));
  std::vector<FlowId> ids;
  each_([&](const flow::FlowSight& sight) {
    FlowId id = sight.record.grant.id;
    if (id > filter.after && filter.protocol.value_or(sight.protocol) == sight.protocol &&
        filter.direction.value_or(sight.direction) == sight.direction &&
        search.holds(sight, names_, now_)) {
      ids.push_back(id);
    }
  });
  std::size_t size =
      std::min(std::clamp<std::size_t>(filter.limit, 1, kMaxFlowsPerPage), ids.size());
  FlowPage page;
  page.rest = ids.size() - size;
  std::partial_sort(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(size), ids.end());
  ids.resize(size);
  page.flows.resize(size);
  each_([&](const flow::FlowSight& sight) {
    auto at = std::lower_bound(ids.begin(), ids.end(), sight.record.grant.id);
    if (at == ids.end() || *at != sight.record.grant.id) return;
    page.flows[static_cast<std::size_t>(at - ids.begin())] = describe(sight);
  });
  return page;
}

std::optional<FlowInfo> FlowList::one(FlowId id) const {
  std::optional<FlowInfo> found;
  each_([&](const flow::FlowSight& sight) {
    if (sight.record.grant.id == id) found = describe(sight);
  });
  return found;
}

FlowInfo FlowList::describe(const flow::FlowSight& sight) const {
  FlowInfo info;
  info.id = sight.record.grant.id;
  info.protocol = sight.protocol;
  info.direction = sight.direction;
  info.state = sight.state;
  info.guest = sight.guest;
  info.remote = sight.remote;
  names_.each_name(sight.remote.address, now_, [&](std::string_view name) {
    info.names.emplace_back(name);
    return info.names.size() < kMaxNamesShown;
  });
  if (sight.name) info.server_name = sight.name->text();
  info.age = now_ - sight.record.opened;
  info.idle = now_ - sight.last;
  info.tx_bytes = sight.record.tx_bytes;
  info.rx_bytes = sight.record.rx_bytes;
  if (const auto& ground = sight.record.grant.ground) {
    info.rule = ground->text;
    info.decided_by = ground->rule;
    info.generation = ground->generation;
  }
  return info;
}

}  // namespace sluice::core
