#pragma once

#include <chrono>
#include <vector>

#include <net/address.h>
#include <net/name.h>
#include <net/status.h>

#include "wire/dhcp.h"

namespace sluice::wire {

/// What a client gets from a DHCPv4 server, checked: whatever the server sent, the values can be
/// given to the kernel and to a resolver, and no list is longer than its limit.
struct DhcpLease {
  /// As on the wire (RFC 2131 section 3.3): the lease never ends.
  static constexpr std::chrono::seconds kForever{0xffffffff};
  /// Of a server that does not say how long, which it must.
  static constexpr std::chrono::seconds kAssumedDuration{3600};
  /// Shorter leases are taken for as long as this, and T1 is never below kMinRenewal: else one
  /// answer could make a client ask without rest.
  static constexpr std::chrono::seconds kMinDuration{10};
  static constexpr std::chrono::seconds kMinRenewal{1};
  static constexpr std::size_t kMaxRouters = 8;
  static constexpr std::size_t kMaxDnsServers = 8;
  static constexpr std::size_t kMaxRoutes = 128;
  static constexpr std::uint16_t kMinMtu = 576;

  /// Of an OFFER or ACK. invalid_argument, with the reason, where yiaddr is no unicast address that
  /// a host can have, the subnet mask has holes or makes yiaddr the network's or its broadcast
  /// address, or there is no server identifier (option 54). What is merely useless among the other
  /// options (a multicast router, an MTU below kMinMtu) is left out.
  static Result<DhcpLease> read(const DhcpView& reply);

  IpAddress address;
  /// Without option 1, of the address's class (RFC 950 appendix I).
  int prefix_length = 0;
  IpAddress server;
  /// In the server's order. Not to be used where there are `routes` (RFC 3442).
  std::vector<IpAddress> routers;
  /// Option 121. The router 0.0.0.0 means that the destination is on the link.
  std::vector<DhcpRoute> routes;
  std::vector<IpAddress> dns_servers;  ///< Each once.
  DomainName host_name;                ///< The root where there is none.
  DomainName domain;                   ///< Likewise.
  std::vector<DomainName> search;      ///< Option 119; not `domain`.
  std::uint16_t mtu = 0;               ///< Bytes; 0 where there is none.

  std::chrono::seconds duration{kForever};
  std::chrono::seconds renew_after{kForever};   ///< T1: half of the duration unless option 58 says.
  std::chrono::seconds rebind_after{kForever};  ///< T2: 7/8 of it unless option 59 says.

  bool is_forever() const { return duration == kForever; }

  friend bool operator==(const DhcpLease&, const DhcpLease&) = default;
};

}  // namespace sluice::wire
