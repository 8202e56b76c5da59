#pragma once

#include <chrono>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include <net/address.h>
#include <net/name.h>

// What rtnetlink(7) speaks of, as values.

namespace sluice::agent {

/// A network interface.
struct Link {
  int index = 0;
  std::string name;
  MacAddress mac;
  std::uint32_t mtu = 0;      ///< Bytes.
  std::uint32_t max_mtu = 0;  ///< The driver's limit; 0 where it names none.
  bool up = false;            ///< Administratively (IFF_UP).
  bool carrier = false;       ///< Something is at the other end (IFF_LOWER_UP); only while up.
  bool loopback = false;
  bool ethernet = false;  ///< ARPHRD_ETHER; veth and bridges too.
  /// "veth", "bridge", "dummy", "tun", ...; empty for what has a driver of its own.
  std::string kind;
  int bridge = 0;  ///< The index of the bridge or bond that it is a port of; 0 for none.

  friend bool operator==(const Link&, const Link&) = default;
};

/// The kernel's and DHCP's word for "never ends".
inline constexpr std::chrono::seconds kForever{0xffffffff};

/// Whether the kernel asks the link for a duplicate before it uses an IPv6 address (RFC 4862
/// section 5.4). That takes a second, in which nobody can be answered.
enum class DuplicateCheck : std::uint8_t { wanted, left_out };

/// An address of an interface.
struct InterfaceAddress {
  int link = 0;  ///< Interface index.
  IpAddress address;
  int prefix_length = 0;
  /// Of a point-to-point link; nothing elsewhere.
  std::optional<IpAddress> peer;
  /// From now on; the kernel removes the address when `valid` has passed. At least 1 s.
  std::chrono::seconds preferred = kForever;
  std::chrono::seconds valid = kForever;
  DuplicateCheck duplicate_check = DuplicateCheck::wanted;

  // Told by the kernel, of no meaning to it.
  bool tentative = false;  ///< Not to be used yet: the duplicate check goes on.
  bool duplicate = false;  ///< Not to be used at all: somebody else has it.
  bool dynamic = false;    ///< By SLAAC, or with a lifetime.

  /// Whether both name the same address of the same interface.
  bool is_same(const InterfaceAddress& other) const {
    return link == other.link && address == other.address && prefix_length == other.prefix_length;
  }
  friend bool operator==(const InterfaceAddress&, const InterfaceAddress&) = default;
};

/// A unicast route of the main table.
struct Route {
  IpPrefix destination;              ///< The length 0 makes it a default route.
  std::optional<IpAddress> gateway;  ///< Nothing: the destination is on the link.
  int link = 0;                      ///< Interface index.
  /// The smaller wins. The kernel takes 0 for 1024 in IPv6.
  std::uint32_t metric = 0;
  /// The gateway need not be in an on-link prefix (RTNH_F_ONLINK).
  bool gateway_on_link = false;
  std::optional<IpAddress> source;  ///< Preferred source address.

  // Told by the kernel, of no meaning to it.
  bool by_kernel = false;  ///< Came with an address.
  bool by_advert = false;  ///< Came with a router advertisement.

  /// Whether both are the same entry, as replacing and removing take it.
  bool is_same(const Route& other) const {
    return destination == other.destination && gateway == other.gateway && link == other.link &&
           metric == other.metric;
  }
  friend bool operator==(const Route&, const Route&) = default;
};

/// Resolvers that a router advertised (RFC 8106).
struct RouterDns {
  int link = 0;
  IpAddress router;
  std::vector<IpAddress> servers;
  std::vector<DomainName> search;
  /// How long both hold, from now; 0 means that they don't any more.
  std::chrono::seconds servers_lifetime{0};
  std::chrono::seconds search_lifetime{0};

  friend bool operator==(const RouterDns&, const RouterDns&) = default;
};

/// What a notification tells.
struct LinkChange {
  Link link;
  bool removed = false;
};
struct AddressChange {
  InterfaceAddress address;
  bool removed = false;
};
struct RouteChange {
  Route route;
  bool removed = false;
};
/// Notifications were lost as they came faster than they were read: anything may have changed.
struct ChangesLost {};

using NetworkChange = std::variant<ChangesLost, LinkChange, AddressChange, RouteChange, RouterDns>;

}  // namespace sluice::agent
