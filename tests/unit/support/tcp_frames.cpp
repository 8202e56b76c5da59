#include "support/tcp_frames.h"

#include <algorithm>
#include <cassert>
#include <memory>

#include "wire/ethernet.h"
#include "wire/ip.h"
#include "wire/tcp.h"

namespace sluice::test {

namespace {

struct SlabMemory : Buffer {
  explicit SlabMemory(std::size_t size)
      : Buffer([](Buffer* self) {
          std::unique_ptr<SlabMemory> dropped(static_cast<SlabMemory*>(self));
        }),
        bytes(size) {}
  std::vector<std::uint8_t> bytes;
};

}  // namespace

std::vector<std::uint8_t> make_tcp_frame(const TcpFrameSpec& spec) {
  bool v4 = spec.family == Family::v4;
  std::size_t header_size = wire::kTcpHeaderSize + (spec.timestamps ? 12 : 0);
  wire::IpHeader ip;
  ip.source = v4 ? IpAddress::v4(192, 168, 127, 2) : IpAddress::v6({0xfd, 2});
  ip.destination = v4 ? IpAddress::v4(203, 0, 113, 1) : IpAddress::v6({0xfd, 9});
  ip.protocol = wire::IpProtocol::tcp;
  ip.payload_size = header_size + spec.payload.size();
  std::vector<std::uint8_t> frame(wire::kEthernetHeaderSize + ip.size() + ip.payload_size);
  wire::EthernetHeader ethernet{.destination = MacAddress({2, 0, 0, 0, 0, 1}),
                                .source = MacAddress({2, 0, 0, 0, 0, 2}),
                                .type = v4 ? wire::EtherType::ipv4 : wire::EtherType::ipv6};
  ethernet.emit(frame);
  ip.emit(Bytes(frame).subspan(wire::kEthernetHeaderSize));
  Bytes segment = Bytes(frame).subspan(wire::kEthernetHeaderSize + ip.size());
  wire::TcpHeader tcp;
  tcp.source_port = Port(40000);
  tcp.destination_port = Port(80);
  tcp.sequence = spec.sequence;
  tcp.acknowledgment = spec.acknowledgment;
  tcp.flags = {spec.flags};
  tcp.window = spec.window;
  tcp.emit(segment, wire::Checksum());
  segment[12] = static_cast<std::uint8_t>(header_size / 4 << 4);
  if (spec.timestamps) {
    const std::uint8_t options[12] = {1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2};
    std::ranges::copy(options, segment.begin() + wire::kTcpHeaderSize);
  }
  std::ranges::copy(spec.payload, segment.begin() + static_cast<std::ptrdiff_t>(header_size));
  sign_tcp_frame(frame);
  return frame;
}

void sign_tcp_frame(Bytes frame) {
  Bytes packet = frame.subspan(wire::kEthernetHeaderSize);
  bool v4 = packet[0] >> 4 == 4;
  if (v4) {
    store_be16(packet.data() + 10, 0);
    wire::Checksum sum;
    sum.add(packet.first(20));
    store_be16(packet.data() + 10, sum.value());
  }
  ConstBytes source = v4 ? packet.subspan(12, 4) : packet.subspan(8, 16);
  ConstBytes destination = v4 ? packet.subspan(16, 4) : packet.subspan(24, 16);
  Bytes segment = packet.subspan(v4 ? 20 : 40);
  store_be16(segment.data() + 16, 0);
  wire::Checksum sum =
      wire::pseudo_header(IpAddress::from_bytes(source), IpAddress::from_bytes(destination),
                          wire::IpProtocol::tcp, segment.size());
  sum.add(segment);
  store_be16(segment.data() + 16, sum.value());
}

FrameSlab::FrameSlab(std::size_t size) : buffer_(std::make_unique<SlabMemory>(size).release()) {}

Bytes FrameSlab::add(ConstBytes frame) {
  Bytes memory(static_cast<SlabMemory*>(buffer_.get())->bytes);
  assert(used_ + 4 + frame.size() <= memory.size());
  store_be32(memory.data() + used_, static_cast<std::uint32_t>(frame.size()));
  Bytes out = memory.subspan(used_ + 4, frame.size());
  std::ranges::copy(frame, out.begin());
  used_ += 4 + frame.size();
  return out;
}

}  // namespace sluice::test
