#include "link/virtio_net.h"

#include <algorithm>
#include <cstring>

#include "link/segmenter.h"
#include "wire/checksum.h"
#include "wire/ethernet.h"
#include "wire/ip.h"
#include "wire/tcp.h"
#include "wire/udp.h"

namespace sluice::link {

namespace {

constexpr std::size_t kTcpChecksumAt = 16, kUdpChecksumAt = 6, kTcpFlagsAt = 13;
constexpr std::uint8_t kCwr = 0x80;

std::uint16_t load_le16(const std::uint8_t* p) {
  return static_cast<std::uint16_t>(p[0] | p[1] << 8);
}

void store_le16(std::uint8_t* p, std::uint16_t value) {
  p[0] = static_cast<std::uint8_t>(value);
  p[1] = static_cast<std::uint8_t>(value >> 8);
}

std::optional<wire::Packet> packet_of(ConstBytes frame) {
  auto ethernet = wire::EthernetView::parse(frame);
  if (!ethernet) return std::nullopt;
  bool v4 = ethernet->type() == wire::EtherType::ipv4;
  if (!v4 && ethernet->type() != wire::EtherType::ipv6) return std::nullopt;
  auto packet = wire::Packet::parse(frame.subspan(wire::kEthernetHeaderSize));
  if (packet && (packet->family() == Family::v4) != v4) return std::nullopt;
  return packet;
}

/// Where TCP or UDP of a whole packet keeps its checksum, from its header on; 0 for others.
std::size_t checksum_place(const wire::Packet& packet) {
  if (packet.is_fragment()) return 0;
  if (packet.protocol() == wire::IpProtocol::tcp) return kTcpChecksumAt;
  if (packet.protocol() == wire::IpProtocol::udp) return kUdpChecksumAt;
  return 0;
}

/// As the sender's NIC would: the place holds what comes before the sum, the pseudo header's.
void complete_checksum(Bytes from, std::size_t offset) {
  wire::Checksum sum;
  sum.add(from);
  std::uint16_t value = sum.value();
  // 0 is UDP's "none", and in ones' complement the same as 0xffff.
  store_be16(&from[offset], value == 0 ? 0xffff : value);
}

/// Whether the packet is what its segmentation type says, and how it is to be cut.
std::optional<TxOffload> check_segmentation(const VirtioNetHeader& header,
                                            const wire::Packet& packet, bool is_trusted) {
  TxOffload out{.checksum_trusted = is_trusted, .datagram_size = 0};
  if (packet.is_fragment() || header.segment_size == 0) return std::nullopt;
  auto type = static_cast<std::uint8_t>(header.gso & ~VirtioNetHeader::kEcn);
  if (type == VirtioNetHeader::kTcp4 || type == VirtioNetHeader::kTcp6) {
    Family family = type == VirtioNetHeader::kTcp4 ? Family::v4 : Family::v6;
    if (packet.family() != family || packet.protocol() != wire::IpProtocol::tcp) {
      return std::nullopt;
    }
    return out;
  }
  if (header.gso != VirtioNetHeader::kUdpL4) return std::nullopt;
  if (packet.protocol() != wire::IpProtocol::udp) return std::nullopt;
  auto datagram = wire::UdpView::parse(packet.payload());
  if (!datagram || datagram->bytes().size() != packet.payload().size()) return std::nullopt;
  // Extension headers of any length would be copied into each.
  if (wire::kEthernetHeaderSize + packet.header_size() + wire::kUdpHeaderSize > kMaxHead) {
    return std::nullopt;
  }
  std::size_t payload = datagram->payload().size();
  if (payload > header.segment_size * kMaxDatagrams) return std::nullopt;
  // One that is not to be cut is a datagram like any other.
  if (payload > header.segment_size) {
    if (!is_trusted && !datagram->checksum_ok(packet.source(), packet.destination())) {
      return std::nullopt;
    }
    out.checksum_trusted = true;
    out.datagram_size = header.segment_size;
  }
  return out;
}

}  // namespace

std::string to_string(const Offloads& offloads) {
  std::string out;
  auto add = [&](bool has, const char* name) {
    if (has) out += (out.empty() ? "" : " ") + std::string(name);
  };
  add(offloads.checksum, "checksum");
  add(offloads.tcp4, "tcp4");
  add(offloads.tcp6, "tcp6");
  add(offloads.tcp_ecn, "ecn");
  add(offloads.udp4, "udp4");
  add(offloads.udp6, "udp6");
  return out.empty() ? "none" : out;
}

VirtioNetHeader VirtioNetHeader::read(ConstBytes bytes) {
  VirtioNetHeader out{.flags = bytes[0],
                      .gso = bytes[1],
                      .header_size = load_le16(&bytes[2]),
                      .segment_size = load_le16(&bytes[4]),
                      .checksum_start = load_le16(&bytes[6]),
                      .checksum_offset = load_le16(&bytes[8])};
  if (bytes.size() >= kSize) out.buffers = load_le16(&bytes[10]);
  return out;
}

void VirtioNetHeader::write(Bytes out) const {
  out[0] = flags;
  out[1] = gso;
  store_le16(&out[2], header_size);
  store_le16(&out[4], segment_size);
  store_le16(&out[6], checksum_start);
  store_le16(&out[8], checksum_offset);
  if (out.size() >= kSize) store_le16(&out[10], buffers);
}

std::optional<TxOffload> check_offload(const VirtioNetHeader& header, Bytes frame) {
  bool is_left_to_us = (header.flags & VirtioNetHeader::kNeedsChecksum) != 0;
  TxOffload out{.checksum_trusted = (header.flags & VirtioNetHeader::kDataValid) != 0,
                .datagram_size = 0};
  if (!is_left_to_us && header.gso == VirtioNetHeader::kNone) return out;
  std::size_t start = header.checksum_start, offset = header.checksum_offset;
  if (is_left_to_us && start + offset + 2 > frame.size()) return std::nullopt;

  std::optional<wire::Packet> packet = packet_of(frame);
  if (is_left_to_us) {
    std::size_t place = packet ? checksum_place(*packet) : 0;
    out.checksum_trusted =
        place != 0 && offset == place && start == wire::kEthernetHeaderSize + packet->header_size();
  }
  if (header.gso != VirtioNetHeader::kNone) {
    if (!packet || (is_left_to_us && !out.checksum_trusted)) return std::nullopt;
    return check_segmentation(header, *packet, out.checksum_trusted);
  }
  if (!out.checksum_trusted) complete_checksum(frame.subspan(start), offset);
  return out;
}

bool may_lend(const VirtioNetHeader& header, ConstBytes frame, std::size_t there) {
  std::optional<wire::Packet> packet = packet_of(frame);
  if (!packet || packet->is_fragment() || packet->protocol() != wire::IpProtocol::tcp) return false;
  std::size_t tcp_at = wire::kEthernetHeaderSize + packet->header_size();
  if (tcp_at + wire::kMaxTcpHeaderSize > there) return false;
  // Data and nothing else, of which others than the flow's relay see no more than the headers.
  if (!wire::TcpFlags{frame[tcp_at + kTcpFlagsAt]}.are_plain()) return false;
  if ((header.flags & VirtioNetHeader::kNeedsChecksum) == 0) {
    return (header.flags & VirtioNetHeader::kDataValid) != 0;
  }
  return header.checksum_start == tcp_at && header.checksum_offset == kTcpChecksumAt;
}

DatagramCutter::DatagramCutter(ConstBytes frame, std::uint16_t datagram_size)
    : step_(std::max<std::size_t>(datagram_size, 1)) {
  auto packet = packet_of(frame);
  if (!packet || packet->payload().size() < wire::kUdpHeaderSize) return;
  l4_ = wire::kEthernetHeaderSize + packet->header_size();
  head_ = frame.first(l4_ + wire::kUdpHeaderSize);
  payload_ = packet->payload().subspan(wire::kUdpHeaderSize);
}

std::size_t DatagramCutter::full_frame() const {
  return head_.size() + std::min(step_, payload_.size());
}

std::size_t DatagramCutter::count() const {
  return (payload_.size() + step_ - 1) / step_;
}

std::size_t DatagramCutter::next(Bytes out) {
  if (index_ >= count() || out.size() < full_frame()) return 0;
  std::size_t size = std::min(step_, payload_.size() - index_ * step_);
  std::memcpy(out.data(), head_.data(), head_.size());
  std::memcpy(out.data() + head_.size(), payload_.data() + index_ * step_, size);
  Bytes ip = out.subspan(wire::kEthernetHeaderSize);
  auto datagram = static_cast<std::uint16_t>(wire::kUdpHeaderSize + size);
  std::size_t header = l4_ - wire::kEthernetHeaderSize;
  if ((ip[0] >> 4) == 4) {
    store_be16(&ip[2], static_cast<std::uint16_t>(header + datagram));
    // Ids must differ while fragments may be under way (RFC 6864 section 4).
    store_be16(&ip[4], static_cast<std::uint16_t>(load_be16(&ip[4]) + index_));
    store_be16(&ip[10], 0);
    wire::Checksum sum;
    sum.add(ip.first(header));
    store_be16(&ip[10], sum.value());
  } else {
    store_be16(&ip[4], static_cast<std::uint16_t>(header - 40 + datagram));
  }
  store_be16(&out[l4_ + 4], datagram);
  store_be16(&out[l4_ + 6], 0);
  ++index_;
  return head_.size() + size;
}

std::optional<VirtioNetHeader> leave_to_guest(const RxFrame& frame, const Offloads& guest,
                                              Bytes head) {
  if (!guest.checksum || frame.offload != Offload::tcp || head.size() < frame.head.size()) {
    return std::nullopt;
  }
  auto segmenter = Segmenter::make(frame, wire::kLeastTcpSegment);
  if (!segmenter) return std::nullopt;
  Bytes ip = head.first(frame.head.size()).subspan(wire::kEthernetHeaderSize);
  if (ip.size() + frame.payload_size > 0xffff) return std::nullopt;
  std::memcpy(head.data(), frame.head.data(), frame.head.size());
  bool v4 = (ip[0] >> 4) == 4;
  VirtioNetHeader out{.flags = VirtioNetHeader::kNeedsChecksum,
                      .checksum_start = frame.l4_offset,
                      .checksum_offset = kTcpChecksumAt,
                      .buffers = 1};
  if (segmenter->count() > 1) {
    if (!(v4 ? guest.tcp4 : guest.tcp6)) return std::nullopt;
    out.gso = v4 ? VirtioNetHeader::kTcp4 : VirtioNetHeader::kTcp6;
    if ((frame.head[frame.l4_offset + kTcpFlagsAt] & kCwr) != 0) {
      if (!guest.tcp_ecn) return std::nullopt;
      out.gso |= VirtioNetHeader::kEcn;
    }
    out.header_size = static_cast<std::uint16_t>(frame.head.size());
    out.segment_size = std::max(frame.segment_size, wire::kLeastTcpSegment);
  }
  auto total = static_cast<std::uint16_t>(ip.size() + frame.payload_size);
  if (v4) {
    store_be16(&ip[2], total);
    store_be16(&ip[10], 0);
    wire::Checksum sum;
    sum.add(ip.first(frame.l4_offset - wire::kEthernetHeaderSize));
    store_be16(&ip[10], sum.value());
  } else {
    store_be16(&ip[4], static_cast<std::uint16_t>(total - 40));
  }
  wire::Checksum pseudo;
  pseudo.add(v4 ? ip.subspan(12, 8) : ip.subspan(8, 32));
  pseudo.add_u16(static_cast<std::uint16_t>(wire::IpProtocol::tcp));
  pseudo.add_u32(
      static_cast<std::uint32_t>(frame.head.size() - frame.l4_offset + frame.payload_size));
  // Not inverted: the sum of the rest is still to be added.
  store_be16(&head[frame.l4_offset + kTcpChecksumAt], static_cast<std::uint16_t>(~pseudo.value()));
  return out;
}

}  // namespace sluice::link
