#include "gateway/neighbours.h"

namespace sluice::gateway {

std::size_t Neighbours::learn(const IpAddress& address, const MacAddress& mac, TimePoint now) {
  if (auto known = entries_.find(address); known != entries_.end()) {
    known->second = {mac, now};
    return 0;
  }
  // A scan of a few hundred entries, and only when a new address turns up.
  auto oldest = entries_.end();
  auto oldest_of_mac = entries_.end();
  std::size_t of_mac = 0;
  for (auto at = entries_.begin(); at != entries_.end(); ++at) {
    if (oldest == entries_.end() || at->second.seen < oldest->second.seen) oldest = at;
    if (at->second.mac != mac) continue;
    ++of_mac;
    if (oldest_of_mac == entries_.end() || at->second.seen < oldest_of_mac->second.seen) {
      oldest_of_mac = at;
    }
  }
  auto victim = of_mac >= max_per_mac_            ? oldest_of_mac
                : entries_.size() >= max_entries_ ? oldest
                                                  : entries_.end();
  std::size_t evicted = victim == entries_.end() ? 0 : 1;
  if (evicted) entries_.erase(victim);
  entries_.emplace(address, Entry{mac, now});
  return evicted;
}

std::optional<MacAddress> Neighbours::find(const IpAddress& address) const {
  auto known = entries_.find(address);
  if (known == entries_.end()) return std::nullopt;
  return known->second.mac;
}

std::optional<IpAddress> Neighbours::latest_in(const IpPrefix& block) const {
  std::optional<IpAddress> latest;
  TimePoint seen{};
  for (const auto& [address, entry] : entries_) {
    if (!block.contains(address) || (latest && entry.seen <= seen)) continue;
    latest = address;
    seen = entry.seen;
  }
  return latest;
}

std::optional<TimePoint> Neighbours::last_seen(const IpAddress& address) const {
  auto known = entries_.find(address);
  if (known == entries_.end()) return std::nullopt;
  return known->second.seen;
}

}  // namespace sluice::gateway
