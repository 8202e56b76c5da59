#include "gateway/address_book.h"

#include <algorithm>

#include "wire/ethernet.h"
#include "wire/ndp.h"

namespace sluice::gateway {
namespace {

// How long a source that was found good is taken for good, and not marked as seen again.
constexpr std::chrono::seconds kRecentFor{1};

LeasePool make_pool(const Config& config, Family family) {
  LeasePool pool;
  bool v4 = family == Family::v4;
  pool.subnet = v4 ? config.subnet4 : config.prefix6;
  pool.first = v4 ? config.first_guest4 : config.first_guest6;
  pool.reserved.push_back(v4 ? config.gateway4 : config.gateway6);
  if (v4) pool.reserved.push_back(config.host_alias4);
  if (!v4 && config.host_alias6) pool.reserved.push_back(*config.host_alias6);
  std::ranges::copy_if(config.static_leases, std::back_inserter(pool.fixed),
                       [&](const StaticLease& lease) { return lease.address.family() == family; });
  pool.guests = config.guests;
  pool.offer_hold = config.offer_hold;
  pool.quarantine = config.quarantine;
  return pool;
}

}  // namespace

AddressBook::AddressBook(const Config& config, Counters& counters)
    : config_(config),
      counters_(counters),
      link_local_(wire::link_local_from(config.mac)),
      leases4_(make_pool(config, Family::v4)),
      leases6_(make_pool(config, Family::v6)),
      neighbours_(config.max_neighbours, config.max_addresses_per_mac) {}

bool AddressBook::is_own(const IpAddress& address) const {
  return address == config_.gateway4 || address == config_.host_alias4 ||
         address == config_.gateway6 || address == link_local_ || address == config_.host_alias6;
}

bool AddressBook::is_routed(const IpAddress& address) const {
  return std::ranges::any_of(config_.routed,
                             [&](const IpPrefix& prefix) { return prefix.contains(address); });
}

bool AddressBook::on_link(const IpAddress& address) const {
  if (is_own(address) || address.is_multicast()) return false;
  return config_.subnet4.contains(address) || config_.prefix6.contains(address) ||
         (address.is_v6() && address.is_link_local());
}

bool AddressBook::may_claim(const MacAddress& mac, const IpAddress& address, TimePoint now) const {
  auto known = neighbours_.find(address);
  if (!known || *known == mac || config_.guests == Guests::one) return true;
  return now - *neighbours_.last_seen(address) > kClaimAge;
}

bool AddressBook::may_have(const MacAddress& mac, const IpAddress& address, TimePoint now) const {
  if (address.is_v4() && config_.subnet4.contains(address)) return leases4_.may_use(mac, address);
  if (address.is_v6() && address.is_link_local()) return may_claim(mac, address, now);
  if (config_.prefix6.contains(address)) {
    // The prefix's first address is every router's (RFC 4291 section 2.6.1).
    return address != config_.prefix6.address() && !leases6_.belongs_to_other(mac, address) &&
           may_claim(mac, address, now);
  }
  return is_routed(address) && !address.is_multicast() && !address.is_unspecified();
}

void AddressBook::learn(const MacAddress& mac, const IpAddress& address, TimePoint now) {
  counters_.neighbours_evicted += neighbours_.learn(address, mac, now);
  (address.is_v4() ? leases4_ : leases6_).touch(mac, address, now);
}

SourceCheck AddressBook::check_source(const MacAddress& mac, const IpAddress& address,
                                      TimePoint now) {
  Recent& recent = recent_[address.is_v4() ? 0 : 1];
  std::uint64_t generation = leases4_.generation() + leases6_.generation();
  if (recent.generation == generation && recent.address == address && recent.mac == mac &&
      now < recent.until) {
    return SourceCheck::allowed;
  }
  if (mac.is_zero() || mac.is_multicast() || mac == config_.mac) {
    ++counters_.spoofed_mac;
    return SourceCheck::spoofed_mac;
  }
  bool own = is_own(address);
  if (own || !may_have(mac, address, now)) {
    ++counters_.spoofed_address;
    return own ? SourceCheck::own_address : SourceCheck::not_permitted;
  }
  learn(mac, address, now);
  recent = {mac, address, generation, now + kRecentFor};
  return SourceCheck::allowed;
}

bool AddressBook::claim(const MacAddress& mac, const IpAddress& address, TimePoint now) {
  if (is_own(address)) {
    ++counters_.gateway_claimed;
    return false;
  }
  if (!may_have(mac, address, now)) {
    ++counters_.claims_refused;
    return false;
  }
  learn(mac, address, now);
  return true;
}

std::optional<MacAddress> AddressBook::known_mac(const IpAddress& address) const {
  if (auto known = neighbours_.find(address)) return known;
  return (address.is_v4() ? leases4_ : leases6_).current_holder(address);
}

std::optional<MacAddress> AddressBook::mac_of(const IpAddress& address) const {
  if (is_own(address)) return std::nullopt;
  if (address.is_multicast()) return wire::multicast_mac(address);
  if (address.is_limited_broadcast() ||
      (address.is_v4() && config_.subnet4.length() < 31 && address == config_.subnet4.last())) {
    return MacAddress::broadcast();
  }
  if (auto known = known_mac(address)) return known;
  if (!is_routed(address) || on_link(address)) return std::nullopt;
  // Guests of either family are one machine with one MAC.
  if (auto guest = known_mac(config_.first_guest4)) return guest;
  return known_mac(config_.first_guest6);
}

void AddressBook::begin_session() {
  neighbours_.clear();
  leases4_.begin_session();
  leases6_.begin_session();
  recent_ = {};
}

}  // namespace sluice::gateway
