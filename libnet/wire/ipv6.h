#pragma once

#include <cstdint>
#include <optional>

#include <net/address.h>

#include "base/bytes.h"
#include "wire/ip_protocol.h"

namespace sluice::wire {

inline constexpr std::size_t kIpv6HeaderSize = 40;
inline constexpr std::size_t kIpv6FragmentHeaderSize = 8;
/// RFC 8200 section 4.1 recommends each at most once, destination options twice: 7 with the two
/// that are never accepted. A longer chain only serves to burn a parser's time.
inline constexpr int kMaxExtensionHeaders = 8;

/// An IPv6 packet (RFC 8200) whose chain of extension headers has been walked and checked. The
/// bytes are the caller's and outlive the view.
class Ipv6View {
 public:
  /// Nothing unless: version 6; 40 + payload length <= size; at most kMaxExtensionHeaders extension
  /// headers, each inside the packet; hop-by-hop options only in the first place (section 4.1);
  /// options well formed and none that this node must refuse (section 4.2, which covers jumbograms,
  /// RFC 2675); routing headers of type other than 0 (RFC 5095) and with nothing left to visit
  /// (section 4.4); at most one fragment header. Bytes beyond the payload length are left out.
  ///
  /// An atomic fragment (offset 0, no more to come) counts as a whole packet (RFC 6946). The walk
  /// ends at the header of a true fragment.
  static std::optional<Ipv6View> parse(ConstBytes packet);

  ConstBytes bytes() const { return packet_; }
  IpAddress source() const { return IpAddress::from_bytes(packet_.subspan(8, 16)); }
  IpAddress destination() const { return IpAddress::from_bytes(packet_.subspan(24, 16)); }
  std::uint8_t hop_limit() const { return packet_[7]; }
  std::uint8_t traffic_class() const {
    return static_cast<std::uint8_t>(load_be16(packet_.data()) >> 4);
  }
  std::uint32_t flow_label() const { return load_be32(packet_.data()) & 0xfffff; }

  /// What follows the headers walked: the transport protocol, or for a true fragment what its
  /// fragment header names.
  IpProtocol protocol() const { return protocol_; }
  /// The fixed header and all extension headers walked, a true fragment's fragment header included.
  std::size_t header_size() const { return header_size_; }
  ConstBytes payload() const { return packet_.subspan(header_size_); }
  /// Whether there are extension headers before the payload.
  bool has_extensions() const { return header_size_ != kIpv6HeaderSize; }

  /// Part of a larger packet, so the payload is a piece of something.
  bool is_fragment() const { return fragment_header_ != 0; }
  // The following require is_fragment().
  std::uint32_t fragment_id() const { return load_be32(fragment() + 4); }
  /// Bytes, a multiple of 8, at most 65528.
  std::uint32_t fragment_offset() const { return load_be16(fragment() + 2) & 0xfff8u; }
  bool more_fragments() const { return (fragment()[3] & 1) != 0; }
  /// The size of the unfragmentable part: where the fragment header begins.
  std::size_t fragment_header() const { return fragment_header_; }
  /// Where in the unfragmentable part the byte lies that announces the fragment header.
  std::size_t fragment_announced_at() const { return announced_at_; }

 private:
  explicit Ipv6View(ConstBytes packet) : packet_(packet) {}
  bool walk();
  const std::uint8_t* fragment() const { return packet_.data() + fragment_header_; }

  ConstBytes packet_;
  std::size_t header_size_ = kIpv6HeaderSize;
  std::size_t fragment_header_ = 0;
  std::size_t announced_at_ = 0;
  IpProtocol protocol_ = IpProtocol::no_next_header;
};

}  // namespace sluice::wire
