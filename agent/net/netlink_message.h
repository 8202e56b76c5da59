#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include <net/address.h>

#include "agent/net/netlink_types.h"
#include "base/bytes.h"

// The format of netlink(7) and rtnetlink(7) messages: pure, no I/O. Integers are in the machine's
// byte order, addresses in the network's. Reading never goes beyond the bytes given, at any
// alignment, whatever they hold.

namespace sluice::agent {

/// The bytes of a struct of the kernel's.
template <typename T>
ConstBytes bytes_of(const T& value) {
  static_assert(std::is_trivially_copyable_v<T>);
  return {reinterpret_cast<const std::uint8_t*>(&value), sizeof value};
}

/// A message without its header. `body` lives as long as the bytes it was read from.
struct NetlinkMessage {
  std::uint16_t type = 0;
  std::uint16_t flags = 0;
  std::uint32_t sequence = 0;
  ConstBytes body;
};

/// A walk over the messages of one read.
class NetlinkReader {
 public:
  explicit NetlinkReader(ConstBytes bytes) : rest_(bytes) {}
  /// Nothing at the end, and where what is left is no whole message.
  std::optional<NetlinkMessage> next();

 private:
  ConstBytes rest_;
};

struct NetlinkAttribute {
  std::uint16_t type = 0;  ///< Without the flags for nesting and byte order.
  ConstBytes value;
};

/// A walk over attributes: those behind the fixed part of a message, or nested ones.
class NetlinkAttributes {
 public:
  explicit NetlinkAttributes(ConstBytes bytes) : rest_(bytes) {}
  /// Nothing at the end, and where what is left is no whole attribute.
  std::optional<NetlinkAttribute> next();
  /// The first of `type` among the rest.
  std::optional<ConstBytes> find(std::uint16_t type) const;

 private:
  ConstBytes rest_;
};

/// What NLMSG_ERROR and NLMSG_DONE say.
struct NetlinkError {
  int error = 0;        ///< errno; 0 is success.
  std::string message;  ///< The kernel's own words (NETLINK_EXT_ACK); mostly empty.
};
/// Requires a message of these types; one too short for an error code is EPROTO.
NetlinkError parse_error(const NetlinkMessage& message);

// Nothing where the message is of another type, too short, or lacks what it must have.

/// Of RTM_NEWLINK or RTM_DELLINK.
std::optional<Link> parse_link(const NetlinkMessage& message);
/// Of RTM_NEWADDR or RTM_DELADDR.
std::optional<InterfaceAddress> parse_address(const NetlinkMessage& message);
/// Of RTM_NEWROUTE or RTM_DELROUTE; unicast routes of the main table alone.
std::optional<Route> parse_route(const NetlinkMessage& message);
/// Of RTM_NEWNDUSEROPT, with RDNSS or DNSSL options in it.
std::optional<RouterDns> parse_router_dns(const NetlinkMessage& message);
/// A notification of any of these kinds.
std::optional<NetworkChange> parse_change(const NetlinkMessage& message);

/// Builds a request: the fixed part, then attributes.
class NetlinkRequest {
 public:
  /// `fixed` is the struct of the kernel's that the type goes with. NLM_F_REQUEST is added.
  template <typename Fixed>
  NetlinkRequest(std::uint16_t type, std::uint16_t flags, const Fixed& fixed)
      : NetlinkRequest(type, flags, bytes_of(fixed)) {}
  NetlinkRequest(std::uint16_t type, std::uint16_t flags, ConstBytes fixed);

  void add(std::uint16_t type, ConstBytes value);
  void add32(std::uint16_t type, std::uint32_t value) { add(type, bytes_of(value)); }
  void add_text(std::uint16_t type, std::string_view text);  ///< With its NUL.
  void add_address(std::uint16_t type, const IpAddress& address) { add(type, address.bytes()); }
  /// Begins an attribute of attributes; give what it returns to end().
  std::size_t begin(std::uint16_t type);
  void end(std::size_t nested);
  /// What is no attribute, inside one (the peer of a veth begins with a struct).
  void append(ConstBytes bytes);

  std::uint16_t flags() const { return flags_; }
  /// The whole request with its length and `sequence`. Lives until the next call on this object.
  ConstBytes finish(std::uint32_t sequence);

 private:
  std::uint16_t type_;
  std::uint16_t flags_;
  std::vector<std::uint8_t> bytes_;
};

}  // namespace sluice::agent
