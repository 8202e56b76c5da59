#include "gateway/lease_table.h"

#include <algorithm>

#include "base/bytes.h"

namespace sluice::gateway {
namespace {

/// The place of `address` in its subnet; only the low 32 bits count.
std::uint32_t index_in(const IpPrefix& subnet, const IpAddress& address) {
  return load_be32(address.bytes().last(4).data()) -
         load_be32(subnet.address().bytes().last(4).data());
}

}  // namespace

LeaseTable::LeaseTable(LeasePool pool) : pool_(std::move(pool)) {}

bool LeaseTable::usable(const IpAddress& address) const {
  if (!pool_.subnet.contains(address)) return false;
  // RFC 3021: a /31 has neither network nor broadcast address. IPv6 has no broadcast, but the
  // first address is every router's (RFC 4291 section 2.6.1).
  int host_bits = address.bits() - pool_.subnet.length();
  if (host_bits > 1 && address == pool_.subnet.address()) return false;
  if (address.is_v4() && host_bits > 1 && address == pool_.subnet.last()) return false;
  return std::ranges::find(pool_.reserved, address) == pool_.reserved.end();
}

const StaticLease* LeaseTable::fixed_for(const MacAddress& mac) const {
  auto found = std::ranges::find(pool_.fixed, mac, &StaticLease::mac);
  return found == pool_.fixed.end() ? nullptr : &*found;
}

bool LeaseTable::fixed_for_other(const MacAddress& mac, const IpAddress& address) const {
  auto found = std::ranges::find(pool_.fixed, address, &StaticLease::address);
  return found != pool_.fixed.end() && found->mac != mac;
}

bool LeaseTable::idle(const Entry& entry) const {
  return pool_.guests == Guests::one && entry.session != session_;
}

bool LeaseTable::free_for(const MacAddress& mac, const IpAddress& address, TimePoint now) const {
  if (!usable(address) || fixed_for_other(mac, address)) return false;
  auto resting = quarantined_.find(address);
  if (resting != quarantined_.end() && now < resting->second) return false;
  auto held = holders_.find(address);
  if (held == holders_.end() || held->second == mac) return true;
  const Entry& entry = entries_.at(held->second);
  if (entry.lease.state == Lease::State::offered) return entry.lease.expires <= now;
  return address == pool_.first && idle(entry);
}

bool LeaseTable::has_room_for(const MacAddress& mac) const {
  return entries_.size() < kMaxAddresses || entries_.contains(mac);
}

std::optional<IpAddress> LeaseTable::first_free(const MacAddress& mac, TimePoint now) const {
  std::uint32_t start = index_in(pool_.subnet, pool_.first);
  for (std::uint32_t i = 0; i < kMaxAddresses; ++i) {
    IpAddress address = pool_.subnet.at(start + i);
    if (i > 0 && address == pool_.first) break;
    if (free_for(mac, address, now)) return address;
  }
  return std::nullopt;
}

std::optional<IpAddress> LeaseTable::longest_unused(const MacAddress& mac, TimePoint now) const {
  const Entry* oldest = nullptr;
  for (const auto& [holder, entry] : entries_) {
    bool over = entry.lease.state == Lease::State::released || entry.lease.expires <= now;
    if (!over || fixed_for_other(mac, entry.lease.address)) continue;
    if (!oldest || entry.seen < oldest->seen) oldest = &entry;
  }
  if (!oldest) return std::nullopt;
  return oldest->lease.address;
}

std::optional<IpAddress> LeaseTable::choose(const MacAddress& mac, std::optional<IpAddress> wanted,
                                            TimePoint now) const {
  if (const StaticLease* fixed = fixed_for(mac)) return fixed->address;
  if (!has_room_for(mac)) return longest_unused(mac, now);
  auto known = entries_.find(mac);
  if (known != entries_.end() && free_for(mac, known->second.lease.address, now)) {
    return known->second.lease.address;
  }
  if (pool_.guests == Guests::one && free_for(mac, pool_.first, now)) return pool_.first;
  if (wanted && free_for(mac, *wanted, now)) return wanted;
  if (auto free = first_free(mac, now)) return free;
  return longest_unused(mac, now);
}

std::optional<IpAddress> LeaseTable::offer(const MacAddress& mac, std::optional<IpAddress> wanted,
                                           TimePoint now) {
  auto address = choose(mac, wanted, now);
  if (!address) return std::nullopt;
  auto known = entries_.find(mac);
  bool already_bound = known != entries_.end() && known->second.lease.address == *address &&
                       known->second.lease.state == Lease::State::bound;
  if (!already_bound) {
    assign(mac, *address);
    Entry& entry = entries_.at(mac);
    entry.lease.state = Lease::State::offered;
    entry.lease.expires = now + pool_.offer_hold;
    entry.seen = now;
    entry.session = session_;
  }
  return address;
}

bool LeaseTable::bind(const MacAddress& mac, const IpAddress& address, std::string name,
                      TimePoint now, TimePoint expires) {
  const StaticLease* fixed = fixed_for(mac);
  bool allowed =
      fixed ? fixed->address == address : has_room_for(mac) && free_for(mac, address, now);
  if (!allowed) return false;
  assign(mac, address);
  Entry& entry = entries_.at(mac);
  entry.lease.state = Lease::State::bound;
  entry.lease.expires = expires;
  entry.lease.name = std::move(name);
  entry.seen = now;
  entry.session = session_;
  return true;
}

bool LeaseTable::release(const MacAddress& mac, const IpAddress& address) {
  auto known = entries_.find(mac);
  if (known == entries_.end() || known->second.lease.address != address) return false;
  known->second.lease.state = Lease::State::released;
  ++generation_;
  return true;
}

bool LeaseTable::decline(const MacAddress& mac, const IpAddress& address, TimePoint now) {
  auto known = entries_.find(mac);
  if (known == entries_.end() || known->second.lease.address != address) return false;
  forget(mac);
  quarantined_[address] = now + pool_.quarantine;
  return true;
}

bool LeaseTable::may_use(const MacAddress& mac, const IpAddress& address) const {
  if (!usable(address)) return false;
  if (const StaticLease* fixed = fixed_for(mac)) return fixed->address == address;
  if (fixed_for_other(mac, address)) return false;
  auto held = holders_.find(address);
  if (held == holders_.end()) return address == pool_.first;
  const Entry& entry = entries_.at(held->second);
  bool in_use = entry.lease.state == Lease::State::bound;
  if (held->second == mac) return in_use || address == pool_.first;
  return address == pool_.first && (!in_use || idle(entry));
}

bool LeaseTable::belongs_to_other(const MacAddress& mac, const IpAddress& address) const {
  if (fixed_for_other(mac, address)) return true;
  auto held = holders_.find(address);
  if (held == holders_.end() || held->second == mac) return false;
  const Entry& entry = entries_.at(held->second);
  return entry.lease.state == Lease::State::bound && !idle(entry);
}

void LeaseTable::touch(const MacAddress& mac, const IpAddress& address, TimePoint now) {
  auto known = entries_.find(mac);
  if (known == entries_.end() || known->second.lease.address != address) return;
  known->second.session = session_;
  known->second.seen = now;
}

const Lease* LeaseTable::by_mac(const MacAddress& mac) const {
  auto known = entries_.find(mac);
  return known == entries_.end() ? nullptr : &known->second.lease;
}

std::optional<MacAddress> LeaseTable::holder(const IpAddress& address) const {
  auto held = holders_.find(address);
  if (held == holders_.end()) return std::nullopt;
  return held->second;
}

std::optional<MacAddress> LeaseTable::current_holder(const IpAddress& address) const {
  auto held = holders_.find(address);
  if (held == holders_.end()) return std::nullopt;
  const Entry& entry = entries_.at(held->second);
  bool current = entry.lease.state == Lease::State::bound && entry.session == session_;
  return current ? std::optional(held->second) : std::nullopt;
}

std::vector<Lease> LeaseTable::leases() const {
  std::vector<Lease> all;
  all.reserve(entries_.size());
  for (const auto& [mac, entry] : entries_) all.push_back(entry.lease);
  return all;
}

void LeaseTable::expire(TimePoint now) {
  std::size_t before = entries_.size();
  for (auto at = entries_.begin(); at != entries_.end();) {
    const Lease& lease = at->second.lease;
    bool over = lease.state == Lease::State::offered && lease.expires <= now;
    if (over) holders_.erase(lease.address);
    at = over ? entries_.erase(at) : std::next(at);
  }
  if (entries_.size() != before) ++generation_;
  std::erase_if(quarantined_, [&](const auto& resting) { return resting.second <= now; });
}

void LeaseTable::restore(Lease lease) {
  const StaticLease* fixed = fixed_for(lease.mac);
  if (fixed ? fixed->address != lease.address : fixed_for_other(lease.mac, lease.address)) return;
  if (!usable(lease.address) || entries_.contains(lease.mac) || holders_.contains(lease.address) ||
      entries_.size() >= kMaxAddresses) {
    return;
  }
  holders_.emplace(lease.address, lease.mac);
  MacAddress mac = lease.mac;
  entries_.emplace(mac, Entry{.lease = std::move(lease)});
  ++generation_;
}

void LeaseTable::forget(const MacAddress& mac) {
  auto known = entries_.find(mac);
  if (known == entries_.end()) return;
  holders_.erase(known->second.lease.address);
  entries_.erase(known);
  ++generation_;
}

void LeaseTable::assign(const MacAddress& mac, const IpAddress& address) {
  auto held = holders_.find(address);
  if (held != holders_.end() && held->second == mac) {
    ++generation_;
    return;
  }
  if (held != holders_.end()) forget(MacAddress(held->second));
  forget(mac);
  Entry entry;
  entry.lease.mac = mac;
  entry.lease.address = address;
  entries_.emplace(mac, std::move(entry));
  holders_.emplace(address, mac);
  ++generation_;
}

}  // namespace sluice::gateway
