#include "gateway/frame_writer.h"

#include "wire/ethernet.h"
#include "wire/fragment.h"
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

void FrameWriter::send_packet(const MacAddress& to, const wire::IpHeader& header) {
  auto type = header.source.is_v4() ? wire::EtherType::ipv4 : wire::EtherType::ipv6;
  auto fragments = wire::Fragmenter::make(header, mtu_, next_fragment_id_++);
  if (!fragments) return;
  while (auto slice = fragments->next()) {
    frame_.resize(wire::kEthernetHeaderSize);
    wire::EthernetHeader{to, own_mac_, type}.emit(frame_);
    frame_.insert(frame_.end(), slice->header().begin(), slice->header().end());
    ConstBytes piece = ConstBytes(payload_).subspan(slice->payload_offset, slice->payload_size);
    frame_.insert(frame_.end(), piece.begin(), piece.end());
    emit_(frame_);
  }
}

}  // namespace sluice::gateway
