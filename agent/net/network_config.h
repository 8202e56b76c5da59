#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <net/address.h>
#include <net/name.h>
#include <net/status.h>

namespace sluice::agent {

enum class Ipv4Mode : std::uint8_t {
  off,
  dhcp,
  fixed,  ///< The addresses of the config.
};

enum class Ipv6Mode : std::uint8_t {
  off,      ///< No IPv6 on the NIC at all, not even link-local addresses.
  adverts,  ///< By router advertisements (SLAAC), done by the kernel.
  fixed,    ///< The addresses of the config; advertisements are not listened to.
};

enum class Forwarding : std::uint8_t { off, on };

/// An address with the length of its on-link prefix: "10.0.0.2/24".
struct AddressOnLink {
  IpAddress address;
  int prefix_length = 0;

  /// An address alone has its full length.
  static Result<AddressOnLink> parse(std::string_view text);
  friend bool operator==(const AddressOnLink&, const AddressOnLink&) = default;
};

/// How the guest's network is to be.
struct NetworkConfig {
  std::string interface;  ///< Empty: the primary NIC, see nic_candidates().
  Ipv4Mode ipv4 = Ipv4Mode::dhcp;
  Ipv6Mode ipv6 = Ipv6Mode::adverts;
  /// Of both families; those of a family whose mode isn't `fixed` come in addition.
  std::vector<AddressOnLink> addresses;
  std::optional<IpAddress> gateway4;  ///< Goes before a lease's.
  std::optional<IpAddress> gateway6;
  std::vector<IpAddress> dns_servers;  ///< Go before those that are learnt.
  std::vector<DomainName> search;      ///< Replaces the lists that are learnt.
  /// Bytes, 576 to 65535; 0: the lease's, else the driver's. Replaces the lease's.
  std::uint32_t mtu = 0;
  DomainName host_name;  ///< Told to the DHCP server; the root for none.
  Forwarding forwarding = Forwarding::off;

  friend bool operator==(const NetworkConfig&, const NetworkConfig&) = default;
};

/// invalid_argument, naming the setting, where the config contradicts itself or has a value that no
/// interface can have.
Status check(const NetworkConfig& config);

}  // namespace sluice::agent
