#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <net/address.h>
#include <net/name.h>

#include "agent/net/netlink_types.h"
#include "agent/net/network_config.h"

namespace sluice::agent {

/// Why the network is not there yet, in the order of the way to it.
enum class NetworkStage : std::uint8_t {
  waiting_for_device,   ///< No NIC, or not the one that was named.
  waiting_for_carrier,  ///< Nothing at its other end.
  waiting_for_address,  ///< No lease, no router advertisement, or a duplicate check goes on.
  ready,                ///< There is a usable address; see NetworkState::is_ready().
};

/// How the guest's network is.
struct NetworkState {
  NetworkStage stage = NetworkStage::waiting_for_device;
  std::string interface;
  int link = 0;  ///< Interface index; 0 for none.
  MacAddress mac;
  std::uint32_t mtu = 0;
  /// Usable ones: neither link-local nor tentative nor duplicate.
  std::vector<AddressOnLink> addresses;
  std::optional<IpAddress> gateway4;
  std::optional<IpAddress> gateway6;
  std::vector<IpAddress> dns_servers;  ///< The best first, each once; may be link-local.
  std::vector<DomainName> search;      ///< Likewise.
  DomainName host_name;                ///< That a DHCP server gave; the root for none.
  std::string problem;                 ///< What failed last, for a person; empty where nothing did.

  /// A usable address of IPv4; or one of IPv6, with a router where it is by advertisements, and,
  /// where IPv4 is by DHCP, no earlier than GuestNetwork::kIpv4Grace after the carrier.
  bool is_ready() const { return stage == NetworkStage::ready; }
  friend bool operator==(const NetworkState&, const NetworkState&) = default;
};

/// "waiting for a device" and so on.
std::string_view to_string(NetworkStage stage);

/// The part of the state that the kernel's tables tell about `link`. `ipv6` decides whether an IPv6
/// address counts without a router.
NetworkState state_of(const Link& link, const std::vector<InterfaceAddress>& addresses,
                      const std::vector<Route>& routes, Ipv6Mode ipv6);

}  // namespace sluice::agent
