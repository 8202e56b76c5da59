#pragma once

#include <bitset>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <net/address.h>
#include <net/name.h>

#include "base/bytes.h"

// DHCPv4 messages (RFC 2131) and their options (RFC 2132), for both ends: the gateway's server and
// the agent's client. A message is the payload of a UDP datagram.

namespace sluice::wire {

inline constexpr Port kDhcpServerPort{67};
inline constexpr Port kDhcpClientPort{68};
/// What every client must take (RFC 2131 section 2): a 576-byte IP packet without its 20-byte IP
/// and 8-byte UDP header.
inline constexpr std::size_t kDhcpMaxReply = 576 - 28;
/// Shorter messages are padded, as BOOTP-era clients and relays drop them (RFC 951).
inline constexpr std::size_t kDhcpMinMessage = 300;

/// Message type, option 53.
enum class DhcpType : std::uint8_t {
  discover = 1,
  offer = 2,
  request = 3,
  decline = 4,
  ack = 5,
  nak = 6,
  release = 7,
  inform = 8,
};

/// The options that Sluice reads or writes. Others may be asked for by number.
enum class DhcpOption : std::uint8_t {
  pad = 0,
  subnet_mask = 1,
  routers = 3,
  dns_servers = 6,
  host_name = 12,
  domain_name = 15,
  interface_mtu = 26,
  requested_address = 50,
  lease_seconds = 51,
  overload = 52,
  message_type = 53,
  server_id = 54,
  parameter_list = 55,
  message = 56,
  max_message_size = 57,
  renewal_seconds = 58,    // T1
  rebinding_seconds = 59,  // T2
  client_id = 61,
  rapid_commit = 80,    // RFC 4039
  domain_search = 119,  // RFC 3397
  static_routes = 121,  // RFC 3442
  end = 255,
};

/// A route of option 121.
struct DhcpRoute {
  IpPrefix destination;
  IpAddress router;

  friend bool operator==(const DhcpRoute&, const DhcpRoute&) = default;
};

/// A checked view of a message. Valid as long as the bytes it was made of.
///
/// Options are read as RFC 3396 says: pieces of one code are joined, in the order options field,
/// `file`, `sname` (the last two only where option 52 gives them to options).
class DhcpView {
 public:
  /// Nothing where the fixed part or the magic cookie is missing, the hardware is not Ethernet
  /// (htype 1, hlen 6), an option runs over its field, or there is no valid message type: plain
  /// BOOTP is not served.
  static std::optional<DhcpView> parse(ConstBytes payload);

  bool is_request() const { return payload_[0] == 1; }  ///< BOOTREQUEST: sent by a client.
  DhcpType type() const { return type_; }
  std::uint32_t transaction() const { return load_be32(&payload_[4]); }
  /// The client can't take unicast before it is configured.
  bool broadcast() const { return (payload_[10] & 0x80) != 0; }
  IpAddress client_address() const { return address_at(12); }  ///< ciaddr
  IpAddress your_address() const { return address_at(16); }    ///< yiaddr
  IpAddress relay_address() const { return address_at(24); }   ///< giaddr
  MacAddress client_mac() const;                               ///< chaddr

  bool has(DhcpOption code) const { return present_.test(static_cast<std::size_t>(code)); }
  /// The value as it is on the wire; nothing where the option is absent.
  std::optional<std::vector<std::uint8_t>> option(DhcpOption code) const;

  // Typed values: nothing also where the size is wrong for the type.
  std::optional<IpAddress> address(DhcpOption code) const;
  std::vector<IpAddress> addresses(DhcpOption code) const;  ///< Empty where absent or odd-sized.
  std::optional<std::uint16_t> number16(DhcpOption code) const;
  std::optional<std::uint32_t> number32(DhcpOption code) const;
  /// Without trailing NULs, which some clients send.
  std::optional<std::string> text(DhcpOption code) const;
  /// Option 55 as a set; empty where absent.
  std::bitset<256> wanted() const;
  /// Option 119, with its compression pointers; names that can't be are left out.
  std::vector<DomainName> search_list() const;
  /// Option 121; empty where it is malformed.
  std::vector<DhcpRoute> routes() const;

 private:
  explicit DhcpView(ConstBytes payload) : payload_(payload) {}
  IpAddress address_at(std::size_t offset) const {
    return IpAddress::from_bytes(payload_.subspan(offset, 4));
  }
  template <typename Visit>
  bool walk_field(ConstBytes field, Visit visit) const;
  template <typename Visit>
  bool walk(Visit visit) const;

  ConstBytes payload_;
  DhcpType type_ = DhcpType::discover;
  std::uint8_t overload_ = 0;  // bit 0: `file` holds options, bit 1: `sname` does
  std::bitset<256> present_;
};

/// The fixed part of a message that is to be sent.
struct DhcpHeader {
  enum class Op : std::uint8_t { request = 1, reply = 2 };

  Op op = Op::reply;
  std::uint32_t transaction = 0;
  std::uint16_t seconds = 0;
  bool broadcast = false;
  IpAddress client_address;
  IpAddress your_address;
  IpAddress next_server;
  MacAddress client_mac;
  DhcpType type = DhcpType::offer;
};

/// Builds a message option by option, never longer than its limit. Options go out in the order in
/// which they were added, so the necessary ones come first.
class DhcpBuilder {
 public:
  explicit DhcpBuilder(const DhcpHeader& header, std::size_t max_size = kDhcpMaxReply);

  // Each returns whether the option fitted; one that did not leaves the message as it was. Values
  // over 255 bytes are split (RFC 3396).
  bool add(DhcpOption code, ConstBytes value);
  bool add(DhcpOption code, const IpAddress& address) { return add(code, address.bytes()); }
  bool add16(DhcpOption code, std::uint16_t value);
  bool add32(DhcpOption code, std::uint32_t value);
  bool add(DhcpOption code, std::string_view text);
  /// Option 119. Adds as many of the names, from the first, as fit.
  bool add_search_list(const std::vector<DomainName>& names);
  /// Option 121; all or nothing, as a client with this option ignores option 3.
  bool add_routes(const std::vector<DhcpRoute>& routes);

  /// Ends the options and pads. The builder is empty afterwards.
  std::vector<std::uint8_t> finish();

 private:
  std::size_t max_size_;
  std::vector<std::uint8_t> message_;
};

/// 255.255.255.0 for 24.
IpAddress subnet_mask(int prefix_length);
/// 24 for 255.255.255.0; nothing where the ones are not all before the zeros.
std::optional<int> prefix_length(const IpAddress& subnet_mask);

}  // namespace sluice::wire
