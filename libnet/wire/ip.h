#pragma once

#include <cstdint>
#include <optional>

#include <net/address.h>

#include "base/bytes.h"
#include "wire/ip_protocol.h"

namespace sluice::wire {

/// Where a fragment lies in the packet that it is a part of.
struct FragmentInfo {
  std::uint32_t id = 0;      ///< 16 bits in IPv4.
  std::uint32_t offset = 0;  ///< Of the payload, bytes, a multiple of 8.
  bool more = false;         ///< Not the last one.
  /// The headers that every fragment repeats: IPv4's whole header, IPv6's up to the fragment
  /// header.
  std::size_t unfragmentable_size = 0;
  /// Where in them the byte lies that names the payload's protocol once reassembled.
  std::size_t protocol_at = 0;
};

/// A checked IP packet of either family, so that the layers above need not know which. The bytes
/// are the caller's and outlive it. 96 bytes; copy freely.
class Packet {
 public:
  /// Nothing unless Ipv4View or Ipv6View (by the version field) accepts it.
  static std::optional<Packet> parse(ConstBytes packet);

  Family family() const { return source_.family(); }
  const IpAddress& source() const { return source_; }
  const IpAddress& destination() const { return destination_; }
  /// Of payload(): IPv6 extension headers are behind us.
  IpProtocol protocol() const { return protocol_; }
  std::uint8_t ttl() const { return ttl_; }  ///< The hop limit of IPv6.
  std::uint8_t traffic_class() const { return traffic_class_; }
  /// Whether routers must not fragment it; always so in IPv6.
  bool dont_fragment() const { return dont_fragment_; }
  /// Whether IPv4 options or IPv6 extension headers stand before the payload.
  bool has_options() const;

  /// The packet without link padding: header and payload.
  ConstBytes bytes() const { return bytes_; }
  std::size_t total_size() const { return bytes_.size(); }
  /// Where the transport header starts.
  std::size_t header_size() const { return header_size_; }
  /// The transport header and what follows; of a fragment, its piece of that.
  ConstBytes payload() const { return bytes_.subspan(header_size_); }

  /// Set where the packet is a part of a larger one: then payload() has no meaning on its own.
  const std::optional<FragmentInfo>& fragment() const { return fragment_; }
  bool is_fragment() const { return fragment_.has_value(); }

  /// IPv4's header checksum; IPv6 has none, so true.
  bool header_checksum_ok() const;

 private:
  Packet() = default;
  ConstBytes bytes_;
  std::size_t header_size_ = 0;
  IpAddress source_;
  IpAddress destination_;
  std::optional<FragmentInfo> fragment_;
  IpProtocol protocol_ = IpProtocol::no_next_header;
  std::uint8_t ttl_ = 0;
  std::uint8_t traffic_class_ = 0;
  bool dont_fragment_ = true;
};

/// An IP header without options or extensions, of the addresses' family.
struct IpHeader {
  IpAddress source;
  IpAddress destination;
  IpProtocol protocol = IpProtocol::udp;
  std::uint8_t ttl = 64;
  std::uint8_t traffic_class = 0;
  /// IPv4 only. An atomic datagram's id means nothing (RFC 6864 section 4.1); where
  /// `dont_fragment` is off it is the caller's to keep unique.
  std::uint16_t id = 0;
  bool dont_fragment = true;  ///< IPv4 only.
  std::size_t payload_size = 0;

  /// 20 or 40, without the payload.
  std::size_t size() const;
  /// Bytes written; 0, and nothing is written, where `out` is shorter than size(), the addresses'
  /// families differ, or the packet would be longer than its length field can say (a payload of
  /// 65515 bytes in IPv4, 65535 in IPv6).
  std::size_t emit(Bytes out) const;
};

}  // namespace sluice::wire
