#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <net/address.h>
#include <net/name.h>

#include "base/loop.h"

namespace sluice::gateway {

/// An address that only one guest may have, and always gets.
struct StaticLease {
  MacAddress mac;
  IpAddress address;  ///< Of either family, in the Network's subnet.
  std::string name;   ///< Host name to hand out (option 12); may be empty.
};

/// How many guests share the segment. With one, whoever is there now is the guest: it gets the
/// first address even if an earlier boot with another MAC still has a lease on it.
enum class Guests : std::uint8_t { one, several };

/// How the router presents itself. All addresses are the guest's view; nothing of it is the host's.
struct Config {
  /// Locally administered; fixed, so that a guest's ARP cache outlives a restart of ours.
  MacAddress mac{{0x02, 0x53, 0x4c, 0x55, 0x49, 0x43}};
  Guests guests = Guests::one;

  IpPrefix subnet4{IpAddress::v4(192, 168, 127, 0), 24};
  IpAddress gateway4 = IpAddress::v4(192, 168, 127, 1);
  IpAddress first_guest4 = IpAddress::v4(192, 168, 127, 2);
  IpAddress host_alias4 = IpAddress::v4(192, 168, 127, 254);

  /// A unique local /64 (RFC 4193); SLAAC needs exactly this length.
  IpPrefix prefix6{IpAddress::v6({0xfd, 0x53, 0x4c, 0x55, 0x49, 0x43}), 64};
  IpAddress gateway6 = prefix6.at(1);
  IpAddress first_guest6 = prefix6.at(2);  ///< Given by DHCPv6.
  std::optional<IpAddress> host_alias6 = prefix6.at(254);

  /// Largest IP packet on the link, bytes, 1280 to 65520.
  std::uint16_t mtu = 1500;

  std::string guest_name = "guest";  ///< Option 12 for the first guest.
  DomainName domain;                 ///< Option 15; the root for none.
  std::vector<DomainName> search;    ///< Options 119 and 24, DNSSL; empty: `domain` alone.

  std::vector<StaticLease> static_leases;
  /// Prefixes behind the guest (containers in the VM), which it may use as source addresses.
  std::vector<IpPrefix> routed;

  /// Of DHCPv4 and DHCPv6 addresses. A guest that stops renewing keeps its address until another
  /// needs it.
  Duration lease = std::chrono::hours(24);
  /// An offered address is kept this long for its REQUEST.
  Duration offer_hold = std::chrono::seconds(60);
  /// A declined address rests this long.
  Duration quarantine = std::chrono::minutes(10);

  /// Neighbour entries in all, and SLAAC addresses of one MAC (privacy addresses come and go).
  std::size_t max_neighbours = 256;
  std::size_t max_addresses_per_mac = 64;
};

/// The search list to hand out: the configured one, or the domain alone.
inline std::vector<DomainName> search_list(const Config& config) {
  if (!config.search.empty() || config.domain.is_root()) return config.search;
  return {config.domain};
}

}  // namespace sluice::gateway
