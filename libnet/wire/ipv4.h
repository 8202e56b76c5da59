#pragma once

#include <cstdint>
#include <optional>

#include <net/address.h>

#include "base/bytes.h"
#include "wire/ip_protocol.h"

namespace sluice::wire {

inline constexpr std::size_t kIpv4HeaderSize = 20;

/// An IPv4 packet (RFC 791) whose header lengths and options have been checked. The bytes are the
/// caller's and outlive the view.
class Ipv4View {
 public:
  /// Nothing unless: version 4, 5 <= IHL, IHL * 4 <= total length <= size, every option well
  /// formed, and no source route among them (RFC 7126 sections 4.3 and 4.4). Bytes beyond the total
  /// length (Ethernet padding) are left out. The checksum is not looked at.
  static std::optional<Ipv4View> parse(ConstBytes packet);

  ConstBytes bytes() const { return packet_; }
  std::size_t header_size() const { return std::size_t{4} * (packet_[0] & 0x0f); }
  ConstBytes header() const { return packet_.first(header_size()); }
  ConstBytes options() const { return header().subspan(kIpv4HeaderSize); }
  ConstBytes payload() const { return packet_.subspan(header_size()); }

  IpAddress source() const { return IpAddress::v4(load_be32(at(12))); }
  IpAddress destination() const { return IpAddress::v4(load_be32(at(16))); }
  IpProtocol protocol() const { return static_cast<IpProtocol>(packet_[9]); }
  std::uint8_t ttl() const { return packet_[8]; }
  std::uint8_t traffic_class() const { return packet_[1]; }  ///< DSCP and ECN (RFC 2474, 3168).
  std::uint16_t id() const { return load_be16(at(4)); }
  bool dont_fragment() const { return (packet_[6] & 0x40) != 0; }
  bool more_fragments() const { return (packet_[6] & 0x20) != 0; }
  /// Bytes, a multiple of 8, at most 65528.
  std::uint32_t fragment_offset() const { return (load_be16(at(6)) & 0x1fffu) * 8; }
  bool checksum_ok() const;

 private:
  explicit Ipv4View(ConstBytes packet) : packet_(packet) {}
  const std::uint8_t* at(std::size_t offset) const { return packet_.data() + offset; }
  ConstBytes packet_;
};

}  // namespace sluice::wire
