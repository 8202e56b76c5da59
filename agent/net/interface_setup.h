#pragma once

#include <chrono>
#include <cstdint>
#include <vector>

#include <net/status.h>

#include "agent/net/netlink.h"
#include "agent/net/netlink_types.h"
#include "wire/dhcp_lease.h"

namespace sluice::agent {

/// What an interface is to have: addresses and routes that are ours, besides the kernel's own.
struct InterfaceSetup {
  std::uint32_t mtu = 0;  ///< Bytes; 0 leaves it as it is.
  std::vector<InterfaceAddress> addresses;
  std::vector<Route> routes;

  friend bool operator==(const InterfaceSetup&, const InterfaceSetup&) = default;
};

/// Adds what a lease gives to `setup`: its address, its routes (or, where it has none, its first
/// router as the default route), its MTU up to what the link takes. `left` is what remains of the
/// lease; the kernel removes the address when it has passed, also if nobody else does.
void add_lease(const wire::DhcpLease& lease, const Link& link, std::chrono::seconds left,
               InterfaceSetup& setup);

/// Adds a default route by `gateway`, which need not be in a prefix of the setup's addresses.
void add_default_route(const IpAddress& gateway, const Link& link, InterfaceSetup& setup);

/// Makes an interface that has `old` have `wanted`: what is new comes first, then what is replaced,
/// and what is too much goes last, so that there is no moment without an address. Does nothing to
/// what is there already, and minds no loss of what is to go. Whatever fails, the rest is done; the
/// first failure is returned.
Status apply(Netlink& netlink, const Link& link, const InterfaceSetup& old,
             const InterfaceSetup& wanted);

}  // namespace sluice::agent
