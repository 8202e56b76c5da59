#include "wire/udp.h"

#include <algorithm>

#include "wire/ip.h"

namespace sluice::wire {

std::optional<UdpView> UdpView::parse(ConstBytes datagram) {
  if (datagram.size() < kUdpHeaderSize) return std::nullopt;
  std::size_t length = load_be16(datagram.data() + 4);
  if (length < kUdpHeaderSize || length > datagram.size()) return std::nullopt;
  return UdpView(datagram.first(length));
}

bool UdpView::checksum_ok(const IpAddress& source, const IpAddress& destination) const {
  if (checksum() == 0) return source.is_v4();
  Checksum sum = pseudo_header(source, destination, IpProtocol::udp, datagram_.size());
  sum.add(datagram_);
  return sum.is_valid();
}

std::size_t UdpHeader::emit(Bytes out, const Checksum& rest) const {
  if (out.size() < size() || payload_size > 0xffff - size()) return 0;
  std::uint8_t* p = out.data();
  store_be16(p, source_port.value());
  store_be16(p + 2, destination_port.value());
  store_be16(p + 4, static_cast<std::uint16_t>(size() + payload_size));
  store_be16(p + 6, 0);
  Checksum sum;
  sum.add(out.first(size()));
  sum.merge(rest);
  // 0 would say that there is none; both are the same number in ones' complement.
  store_be16(p + 6, sum.value() == 0 ? 0xffff : sum.value());
  return size();
}

std::size_t emit_udp(Bytes out, const Endpoint& source, const Endpoint& destination,
                     ConstBytes payload) {
  if (payload.size() > 0xffff - kUdpHeaderSize) return 0;
  IpHeader ip;
  ip.source = source.address;
  ip.destination = destination.address;
  ip.protocol = IpProtocol::udp;
  ip.payload_size = kUdpHeaderSize + payload.size();
  std::size_t total = ip.size() + ip.payload_size;
  if (out.size() < total || ip.emit(out) == 0) return 0;
  Checksum rest = pseudo_header(source.address, destination.address, IpProtocol::udp,
                                kUdpHeaderSize + payload.size());
  rest.add(payload);
  UdpHeader udp{source.port, destination.port, payload.size()};
  udp.emit(out.subspan(ip.size()), rest);
  std::ranges::copy(payload, out.begin() + static_cast<std::ptrdiff_t>(ip.size() + udp.size()));
  return total;
}

}  // namespace sluice::wire
