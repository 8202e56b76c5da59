#pragma once

#include <cstdint>

namespace sluice::gateway {

/// What the router did and refused, by cause, since it was made.
struct Counters {
  std::uint64_t arp_answered = 0;
  std::uint64_t arp_malformed = 0;  ///< Wrong hardware or protocol, hlen or plen; sender mismatch.
  std::uint64_t ndp_answered = 0;
  std::uint64_t ndp_malformed = 0;    ///< Hop limit, code, checksum, option length.
  std::uint64_t hostile_routers = 0;  ///< Router advertisements and redirects from a guest.
  std::uint64_t gateway_claimed = 0;  ///< ARP or NDP that claims an address of ours.
  std::uint64_t claims_refused = 0;   ///< ARP or NDP for an address that the sender may not have.
  std::uint64_t spoofed_mac = 0;      ///< Source MAC zero, multicast or ours.
  std::uint64_t spoofed_address = 0;  ///< Source IP that the sender may not have.
  std::uint64_t neighbours_evicted = 0;
  std::uint64_t resolves_failed = 0;  ///< No answer to our ARP or NS.
  std::uint64_t advertisements = 0;   ///< Router advertisements sent.
  std::uint64_t echo_answered = 0;
  std::uint64_t echo_dropped = 0;    ///< Wrong checksum.
  std::uint64_t dhcp_malformed = 0;  ///< DHCPv4 and DHCPv6.
  std::uint64_t dhcp_ignored = 0;    ///< Well-formed, but not for this server or out of place.
  std::uint64_t dhcp_offers = 0;
  std::uint64_t dhcp_acks = 0;
  std::uint64_t dhcp_naks = 0;
  std::uint64_t dhcp_declines = 0;
  std::uint64_t dhcp_releases = 0;
  std::uint64_t dhcp_exhausted = 0;  ///< No address left to give.
  std::uint64_t dhcpv6_answered = 0;
  std::uint64_t lease_saves_failed = 0;
};

}  // namespace sluice::gateway
