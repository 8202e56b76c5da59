#pragma once

#include <cstdint>
#include <map>
#include <optional>

#include <net/address.h>

#include "base/loop.h"

namespace sluice::gateway {

/// Which MAC was last seen with which address. Bounded in all and per MAC; the entry unused for
/// longest makes room. An entry never goes stale by time alone: a wrong one is corrected by the
/// guest's next packet, and a guest that is gone has no use for frames.
///
/// Whether a MAC may have an address is decided before it gets here. Loop thread only.
class Neighbours {
 public:
  Neighbours(std::size_t max_entries, std::size_t max_per_mac)
      : max_entries_(max_entries), max_per_mac_(max_per_mac) {}

  /// Records or refreshes; returns how many entries had to go (0 or 1).
  std::size_t learn(const IpAddress& address, const MacAddress& mac, TimePoint now);
  std::optional<MacAddress> find(const IpAddress& address) const;
  /// When the address was last used, by whoever has it.
  std::optional<TimePoint> last_seen(const IpAddress& address) const;
  /// The address of `block` that was used last, other than link-local ones.
  std::optional<IpAddress> latest_in(const IpPrefix& block) const;
  void forget(const IpAddress& address) { entries_.erase(address); }
  void clear() { entries_.clear(); }
  std::size_t size() const { return entries_.size(); }

 private:
  struct Entry {
    MacAddress mac;
    TimePoint seen;
  };

  std::map<IpAddress, Entry> entries_;
  std::size_t max_entries_;
  std::size_t max_per_mac_;
};

}  // namespace sluice::gateway
