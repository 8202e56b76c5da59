#include "wire/ip.h"

#include <algorithm>

#include "wire/checksum.h"
#include "wire/ipv4.h"
#include "wire/ipv6.h"

namespace sluice::wire {

namespace {

constexpr std::size_t kIpv4ProtocolAt = 9;

}  // namespace

std::optional<Packet> Packet::parse(ConstBytes bytes) {
  if (bytes.empty()) return std::nullopt;
  Packet packet;
  if (bytes[0] >> 4 == 4) {
    auto view = Ipv4View::parse(bytes);
    if (!view) return std::nullopt;
    packet.bytes_ = view->bytes();
    packet.header_size_ = view->header_size();
    packet.source_ = view->source();
    packet.destination_ = view->destination();
    packet.protocol_ = view->protocol();
    packet.ttl_ = view->ttl();
    packet.traffic_class_ = view->traffic_class();
    packet.dont_fragment_ = view->dont_fragment();
    if (view->more_fragments() || view->fragment_offset() != 0) {
      packet.fragment_ = FragmentInfo{view->id(), view->fragment_offset(), view->more_fragments(),
                                      view->header_size(), kIpv4ProtocolAt};
    }
    return packet;
  }
  auto view = Ipv6View::parse(bytes);
  if (!view) return std::nullopt;
  packet.bytes_ = view->bytes();
  packet.header_size_ = view->header_size();
  packet.source_ = view->source();
  packet.destination_ = view->destination();
  packet.protocol_ = view->protocol();
  packet.ttl_ = view->hop_limit();
  packet.traffic_class_ = view->traffic_class();
  if (view->is_fragment()) {
    packet.fragment_ =
        FragmentInfo{view->fragment_id(), view->fragment_offset(), view->more_fragments(),
                     view->fragment_header(), view->fragment_announced_at()};
  }
  return packet;
}

bool Packet::has_options() const {
  return header_size_ != (source_.is_v4() ? kIpv4HeaderSize : kIpv6HeaderSize);
}

bool Packet::header_checksum_ok() const {
  if (source_.is_v6()) return true;
  Checksum checksum;
  checksum.add(bytes_.first(header_size_));
  return checksum.is_valid();
}

std::size_t IpHeader::size() const {
  return source.is_v4() ? kIpv4HeaderSize : kIpv6HeaderSize;
}

std::size_t IpHeader::emit(Bytes out) const {
  if (out.size() < size() || source.family() != destination.family()) return 0;
  std::uint8_t* p = out.data();
  if (source.is_v4()) {
    if (payload_size > 0xffff - kIpv4HeaderSize) return 0;
    p[0] = 0x45;
    p[1] = traffic_class;
    store_be16(p + 2, static_cast<std::uint16_t>(kIpv4HeaderSize + payload_size));
    store_be16(p + 4, id);
    store_be16(p + 6, dont_fragment ? 0x4000 : 0);
    p[8] = ttl;
    p[9] = static_cast<std::uint8_t>(protocol);
    store_be16(p + 10, 0);
    store_be32(p + 12, source.v4_value());
    store_be32(p + 16, destination.v4_value());
    Checksum checksum;
    checksum.add(out.first(kIpv4HeaderSize));
    store_be16(p + 10, checksum.value());
    return kIpv4HeaderSize;
  }
  if (payload_size > 0xffff) return 0;
  store_be32(p, 6u << 28 | static_cast<std::uint32_t>(traffic_class) << 20);
  store_be16(p + 4, static_cast<std::uint16_t>(payload_size));
  p[6] = static_cast<std::uint8_t>(protocol);
  p[7] = ttl;
  std::ranges::copy(source.bytes(), p + 8);
  std::ranges::copy(destination.bytes(), p + 24);
  return kIpv6HeaderSize;
}

}  // namespace sluice::wire
