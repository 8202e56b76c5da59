#pragma once

#include <cstdint>
#include <optional>

#include <net/address.h>

#include "base/bytes.h"
#include "wire/checksum.h"

namespace sluice::wire {

inline constexpr std::size_t kUdpHeaderSize = 8;

/// A UDP datagram (RFC 768) whose length has been checked. The bytes are the caller's and outlive
/// the view.
class UdpView {
 public:
  /// Nothing unless 8 <= length <= size. Bytes beyond the length are left out. A length of 0, which
  /// only a jumbogram may have (RFC 2675 section 4), is refused.
  static std::optional<UdpView> parse(ConstBytes datagram);

  ConstBytes bytes() const { return datagram_; }
  Port source_port() const { return Port(load_be16(datagram_.data())); }
  Port destination_port() const { return Port(load_be16(datagram_.data() + 2)); }
  std::uint16_t checksum() const { return load_be16(datagram_.data() + 6); }
  ConstBytes payload() const { return datagram_.subspan(kUdpHeaderSize); }

  /// A checksum of 0 says "none": fine in IPv4, wrong in IPv6 (RFC 8200 section 8.1).
  bool checksum_ok(const IpAddress& source, const IpAddress& destination) const;

 private:
  explicit UdpView(ConstBytes datagram) : datagram_(datagram) {}
  ConstBytes datagram_;
};

struct UdpHeader {
  Port source_port;
  Port destination_port;
  std::size_t payload_size = 0;

  static constexpr std::size_t size() { return kUdpHeaderSize; }
  /// Writes the header with its checksum. `rest` holds the pseudo header and the payload, the
  /// payload added from an even place: pseudo_header(...) and then add(payload).
  /// Bytes written; 0, and nothing is written, where `out` is shorter than size() or the payload
  /// longer than 65527 bytes.
  std::size_t emit(Bytes out, const Checksum& rest) const;
};

/// A whole IP packet with one UDP datagram. Bytes written; 0, and nothing is written, where `out`
/// is too short, the families differ, or the payload does not fit into one IP packet (65507 bytes
/// in IPv4, 65527 in IPv6).
std::size_t emit_udp(Bytes out, const Endpoint& source, const Endpoint& destination,
                     ConstBytes payload);

}  // namespace sluice::wire
