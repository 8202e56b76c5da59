#include "gateway/frame_writer.h"

#include "wire/ethernet.h"
#include "wire/udp.h"

namespace sluice::gateway {

void FrameWriter::arp(const MacAddress& to, const wire::ArpPacket& packet) {
  frame_.assign(wire::kEthernetHeaderSize + wire::ArpPacket::size(), 0);
  wire::EthernetHeader{to, own_mac_, wire::EtherType::arp}.emit(frame_);
  if (packet.emit(Bytes(frame_).subspan(wire::kEthernetHeaderSize)) > 0) emit_(frame_);
}

void FrameWriter::udp(const MacAddress& to, const Endpoint& source, const Endpoint& destination,
                      ConstBytes payload) {
  constexpr std::size_t kMostHeaders = 40 + wire::kUdpHeaderSize;
  auto type = source.address.is_v4() ? wire::EtherType::ipv4 : wire::EtherType::ipv6;
  frame_.resize(wire::kEthernetHeaderSize + kMostHeaders + payload.size());
  wire::EthernetHeader{to, own_mac_, type}.emit(frame_);
  std::size_t size = wire::emit_udp(Bytes(frame_).subspan(wire::kEthernetHeaderSize), source,
                                    destination, payload);
  if (size > 0) emit_(ConstBytes(frame_).first(wire::kEthernetHeaderSize + size));
}

Bytes FrameWriter::begin(const MacAddress& to, const wire::IpHeader& header) {
  auto type = header.source.is_v4() ? wire::EtherType::ipv4 : wire::EtherType::ipv6;
  frame_.resize(wire::kEthernetHeaderSize + header.size() + header.payload_size);
  wire::EthernetHeader{to, own_mac_, type}.emit(frame_);
  std::size_t size = header.emit(Bytes(frame_).subspan(wire::kEthernetHeaderSize));
  if (size == 0) return {};
  return Bytes(frame_).subspan(wire::kEthernetHeaderSize + size);
}

}  // namespace sluice::gateway
