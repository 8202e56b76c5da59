#pragma once

#include <cstdint>
#include <optional>

#include <net/address.h>

#include "base/bytes.h"

namespace sluice::wire {

/// What an Ethernet frame carries. Other values occur; below 0x0600 the field is an 802.3 length
/// and above it any protocol or VLAN tag (0x8100): none of these is spoken here.
enum class EtherType : std::uint16_t { ipv4 = 0x0800, arp = 0x0806, ipv6 = 0x86dd };

inline constexpr std::size_t kEthernetHeaderSize = 14;

/// An Ethernet II frame (RFC 894, RFC 2464): 14 bytes or more, without a frame check sequence. The
/// bytes are the caller's and outlive the view.
class EthernetView {
 public:
  /// Nothing where the frame is shorter than its header. An empty payload is accepted.
  static std::optional<EthernetView> parse(ConstBytes frame);

  MacAddress destination() const;
  MacAddress source() const;
  EtherType type() const { return static_cast<EtherType>(load_be16(frame_.data() + 12)); }
  /// With any trailing padding still on it: the IP length says how much counts.
  ConstBytes payload() const { return frame_.subspan(kEthernetHeaderSize); }

 private:
  explicit EthernetView(ConstBytes frame) : frame_(frame) {}
  ConstBytes frame_;
};

struct EthernetHeader {
  MacAddress destination;
  MacAddress source;
  EtherType type = EtherType::ipv4;

  static constexpr std::size_t size() { return kEthernetHeaderSize; }
  /// Bytes written; 0, and nothing is written, where `out` is shorter than size().
  std::size_t emit(Bytes out) const;
};

/// The group address that an IP multicast address maps to (RFC 1112 section 6.4, RFC 2464 section
/// 7). Requires address.is_multicast().
MacAddress multicast_mac(const IpAddress& address);

}  // namespace sluice::wire
