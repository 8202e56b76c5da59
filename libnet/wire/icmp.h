#pragma once

#include <cstdint>
#include <optional>

#include <net/address.h>

#include "base/bytes.h"
#include "wire/checksum.h"
#include "wire/ip.h"

namespace sluice::wire {

inline constexpr std::size_t kIcmpHeaderSize = 8;
/// The longest packet that emit_icmp_error() makes: RFC 1812 section 4.3.2.3 for IPv4, the IPv6
/// minimum MTU for IPv6 (RFC 4443 section 2.4, c).
inline constexpr std::size_t kMaxIcmpv4Error = 576;
inline constexpr std::size_t kMaxIcmpv6Error = 1280;

/// Errors that both families can express (RFC 792, RFC 1122 section 3.2.2.1, RFC 4443 section 3).
enum class IcmpError : std::uint8_t {
  net_unreachable,       ///< v4 3/0, v6 1/0
  host_unreachable,      ///< v4 3/1, v6 1/3
  protocol_unreachable,  ///< v4 3/2, v6 4/1
  port_unreachable,      ///< v4 3/3, v6 1/4
  packet_too_big,        ///< v4 3/4 (RFC 1191), v6 2/0; the value is the MTU
  admin_prohibited,      ///< v4 3/13 (RFC 1812), v6 1/1
  ttl_exceeded,          ///< v4 11/0, v6 3/0
  reassembly_timeout,    ///< v4 11/1, v6 3/1
  parameter_problem,     ///< v4 12/0, v6 4/0; the value is the place of the wrong byte
};

/// An ICMP or ICMPv6 message (RFC 792, RFC 4443) of 8 bytes or more. The bytes are the caller's and
/// outlive the view.
class IcmpView {
 public:
  /// `family` is the IP header's. Nothing where the message is shorter than 8 bytes.
  static std::optional<IcmpView> parse(Family family, ConstBytes message);

  Family family() const { return family_; }
  ConstBytes bytes() const { return message_; }
  std::uint8_t type() const { return message_[0]; }
  std::uint8_t code() const { return message_[1]; }
  /// What follows the 8 bytes of header: an echo's data, the beginning of the packet at fault.
  ConstBytes payload() const { return message_.subspan(kIcmpHeaderSize); }

  bool is_echo_request() const;
  bool is_echo_reply() const;
  // Of an echo.
  std::uint16_t identifier() const { return load_be16(message_.data() + 4); }
  std::uint16_t sequence() const { return load_be16(message_.data() + 6); }

  /// Whether it reports an error, known to us or not: never answered with an error.
  bool is_error() const;
  /// The error; nothing for another message or one that IcmpError does not name.
  std::optional<IcmpError> error() const;
  /// The MTU or pointer that goes with packet_too_big or parameter_problem, as the message has it.
  std::uint32_t error_value() const;

  /// ICMPv6 covers a pseudo header (RFC 4443 section 2.3), ICMP does not: the addresses are not
  /// looked at.
  bool checksum_ok(const IpAddress& source, const IpAddress& destination) const;

 private:
  IcmpView(Family family, ConstBytes message) : family_(family), message_(message) {}
  Family family_;
  ConstBytes message_;
};

enum class EchoKind : std::uint8_t { request, reply };

/// An echo message of the addresses' family.
struct IcmpEcho {
  EchoKind kind = EchoKind::reply;
  std::uint16_t identifier = 0;
  std::uint16_t sequence = 0;
  ConstBytes data;

  std::size_t size() const { return kIcmpHeaderSize + data.size(); }
  /// The ICMP message without IP header. `data` may lie in `out` at its final place already.
  /// Bytes written; 0, and nothing is written, where `out` is shorter than size().
  std::size_t emit(Bytes out, const IpAddress& source, const IpAddress& destination) const;
};

/// The beginning of a packet in error, as an ICMP error names it: enough to find the flow.
struct QuotedPacket {
  IpAddress source;
  IpAddress destination;
  IpProtocol protocol = IpProtocol::no_next_header;
  /// The first bytes of the transport header, 8 or more.
  ConstBytes transport;
};
/// Reads what an ICMP error quotes. The quote may be cut anywhere after the first 8 bytes of the
/// transport header; extension headers of IPv6 are not walked. Nothing where it is shorter, a
/// later fragment, or of another family than `family`.
std::optional<QuotedPacket> parse_quoted(Family family, ConstBytes quoted);

/// Whether a packet may be answered with an ICMP error at all (RFC 1122 section 3.2.2, RFC 4443
/// section 2.4 e): not an ICMP error itself, not a later fragment, neither from nor to a
/// multicast, broadcast or unspecified address. A subnet's own broadcast address is the caller's
/// to know.
bool may_answer_with_error(const Packet& original);

/// A whole IP packet with an ICMP error from `from` to `to`, the sender of `original`, which it
/// quotes as far as kMaxIcmpv4Error or kMaxIcmpv6Error allow. `original` is the packet at fault
/// from its IP header on; it may be cut, but not inside its IP header. `value`: see IcmpError.
/// Bytes written; 0, and nothing is written, where `out` is too short or the families differ.
/// Callers limit the rate (RFC 1812 section 4.3.2.8).
std::size_t emit_icmp_error(Bytes out, const IpAddress& from, const IpAddress& to,
                            ConstBytes original, IcmpError error, std::uint32_t value = 0);

}  // namespace sluice::wire
