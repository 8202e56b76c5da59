#include "link/virtio_net.h"

#include <catch2/catch.hpp>
#include <random>
#include <string>
#include <vector>

#include "link/test_frames.h"
#include "wire/ethernet.h"
#include "wire/ip.h"
#include "wire/tcp.h"
#include "wire/udp.h"

using namespace sluice;
using namespace sluice::link;
using test::FrameSpec;
using test::TestFrame;

namespace {

using Octets = std::vector<std::uint8_t>;
constexpr std::size_t kEthernet = wire::kEthernetHeaderSize;

const Endpoint kGuest4{IpAddress::parse("192.168.127.2").value(), Port(4000)};
const Endpoint kWorld4{IpAddress::parse("198.18.0.2").value(), Port(5000)};
const Endpoint kGuest6{IpAddress::parse("fd51::2").value(), Port(4000)};
const Endpoint kWorld6{IpAddress::parse("fd51:1ce::2").value(), Port(5000)};

/// An Ethernet frame with one UDP datagram of bytes that count up.
Octets udp_frame(Family family, std::size_t payload_size) {
  Octets payload(payload_size), out(kEthernet + 48 + payload_size);
  for (std::size_t i = 0; i < payload_size; ++i)
    payload[i] = static_cast<std::uint8_t>(i * 7 + i / 256);
  bool v4 = family == Family::v4;
  std::size_t size = wire::emit_udp(Bytes(out).subspan(kEthernet), v4 ? kGuest4 : kGuest6,
                                    v4 ? kWorld4 : kWorld6, payload);
  store_be16(&out[12], v4 ? 0x0800 : 0x86dd);
  out.resize(kEthernet + size);
  return out;
}

std::size_t l4_of(const Octets& frame) {
  return kEthernet + (frame[kEthernet] >> 4 == 4 ? 20 : 40);
}

/// The header that Linux puts before such a frame.
VirtioNetHeader partial_udp(const Octets& frame, std::uint16_t segment_size = 0) {
  return {.flags = VirtioNetHeader::kNeedsChecksum,
          .gso = segment_size == 0 ? VirtioNetHeader::kNone : VirtioNetHeader::kUdpL4,
          .segment_size = segment_size,
          .checksum_start = static_cast<std::uint16_t>(l4_of(frame)),
          .checksum_offset = 6};
}

std::vector<Octets> cut(ConstBytes frame, std::uint16_t size) {
  std::vector<Octets> out;
  DatagramCutter cutter(frame, size);
  Octets room(cutter.full_frame());
  while (std::size_t n = cutter.next(room)) {
    out.emplace_back(room.begin(), room.begin() + static_cast<std::ptrdiff_t>(n));
  }
  CHECK(out.size() == cutter.count());
  return out;
}

std::vector<Octets> cut_for_guest(const RxFrame& frame, const VirtioNetHeader& header,
                                  ConstBytes head) {
  // What the guest's kernel does with it: the same as a NIC that cuts and sums.
  RxFrame whole = frame;
  whole.head = head.first(frame.head.size());
  if (header.gso != VirtioNetHeader::kNone) whole.segment_size = header.segment_size;
  return test::reference_cut(whole);
}

}  // namespace

TEST_CASE("a virtio_net_hdr is read as it was written, in either size") {
  VirtioNetHeader header{.flags = 3,
                         .gso = 0x84,
                         .header_size = 0x0102,
                         .segment_size = 0x0304,
                         .checksum_start = 0x0506,
                         .checksum_offset = 0x0708,
                         .buffers = 0x090a};
  Octets bytes(12, 0xee);
  header.write(bytes);
  CHECK(bytes == Octets{3, 0x84, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9});
  CHECK(VirtioNetHeader::read(bytes).buffers == 0x090a);
  Octets legacy(10);
  header.write(legacy);
  CHECK(legacy == Octets{3, 0x84, 2, 1, 4, 3, 6, 5, 8, 7});
  CHECK(VirtioNetHeader::read(legacy).checksum_offset == 0x0708);
  CHECK(VirtioNetHeader::read(legacy).buffers == 0);
}

TEST_CASE("a checksum that the guest left to us is trusted where TCP or UDP has its own") {
  for (Family family : {Family::v4, Family::v6}) {
    Octets frame = udp_frame(family, 100);
    Octets before = frame;
    auto offload = check_offload(partial_udp(frame), frame);
    REQUIRE(offload);
    CHECK(offload->checksum_trusted);
    CHECK(offload->datagram_size == 0);
    CHECK(frame == before);
  }
}

TEST_CASE("a frame that asks for nothing is verified like any other") {
  Octets frame = udp_frame(Family::v4, 100);
  auto offload = check_offload({}, frame);
  REQUIRE(offload);
  CHECK_FALSE(offload->checksum_trusted);
  Octets tiny(3);
  CHECK(check_offload({}, tiny));
}

TEST_CASE("a checksum within a tunnel is computed, for the payload carries it on") {
  // A datagram with a frame within, as VXLAN has it; the inner UDP's checksum is left to us.
  Octets inner = udp_frame(Family::v4, 333), outer = udp_frame(Family::v4, inner.size());
  std::size_t at = l4_of(outer) + 8;
  const Octets right = inner;
  std::size_t l4 = l4_of(inner);
  store_be16(&inner[l4 + 6], 0);
  wire::Checksum pseudo = wire::pseudo_header(kGuest4.address, kWorld4.address,
                                              wire::IpProtocol::udp, inner.size() - l4);
  store_be16(&inner[l4 + 6], static_cast<std::uint16_t>(~pseudo.value()));
  std::copy(inner.begin(), inner.end(), outer.begin() + static_cast<std::ptrdiff_t>(at));
  auto offload = check_offload({.flags = VirtioNetHeader::kNeedsChecksum,
                                .checksum_start = static_cast<std::uint16_t>(at + l4),
                                .checksum_offset = 6},
                               outer);
  REQUIRE(offload);
  CHECK_FALSE(offload->checksum_trusted);
  CHECK(Octets(outer.begin() + static_cast<std::ptrdiff_t>(at), outer.end()) == right);
}

TEST_CASE("a checksum outside of the frame is refused") {
  Octets frame = udp_frame(Family::v4, 20);
  auto size = static_cast<std::uint16_t>(frame.size());
  VirtioNetHeader header{.flags = VirtioNetHeader::kNeedsChecksum};
  auto [start, offset] = GENERATE_COPY(std::pair<std::uint16_t, std::uint16_t>(size, 0),
                                       std::pair<std::uint16_t, std::uint16_t>(size - 1, 0),
                                       std::pair<std::uint16_t, std::uint16_t>(0, size),
                                       std::pair<std::uint16_t, std::uint16_t>(0xffff, 0xffff),
                                       std::pair<std::uint16_t, std::uint16_t>(34, 0xffff),
                                       std::pair<std::uint16_t, std::uint16_t>(size - 8, 7));
  header.checksum_start = start;
  header.checksum_offset = offset;
  const Octets before = frame;
  CHECK_FALSE(check_offload(header, frame));
  CHECK(frame == before);
}

TEST_CASE("a super-frame of TCP goes on as one frame, whatever its sender says of its header") {
  TestFrame tcp({.family = Family::v6, .payload = 40000, .segment_size = 1440});
  RxFrame view = tcp.view();
  Octets frame(view.head.begin(), view.head.end());
  for (const iovec& piece : view.payload) {
    auto* at = static_cast<const std::uint8_t*>(piece.iov_base);
    frame.insert(frame.end(), at, at + piece.iov_len);
  }
  for (std::uint16_t hint : {0, 1, 74, 65535}) {
    auto offload = check_offload({.flags = VirtioNetHeader::kNeedsChecksum,
                                  .gso = VirtioNetHeader::kTcp6 | VirtioNetHeader::kEcn,
                                  .header_size = hint,
                                  .segment_size = 1440,
                                  .checksum_start = view.l4_offset,
                                  .checksum_offset = 16},
                                 frame);
    REQUIRE(offload);
    CHECK(offload->checksum_trusted);
    CHECK(offload->datagram_size == 0);
  }
}

TEST_CASE("a segmentation that is not its frame's is refused") {
  Octets frame = udp_frame(Family::v4, 5000);
  VirtioNetHeader header = partial_udp(frame, 1000);
  CHECK(check_offload(header, frame));
  auto refused = [&](auto change) {
    VirtioNetHeader changed = header;
    change(changed);
    return !check_offload(changed, frame);
  };
  for (std::uint8_t gso : {VirtioNetHeader::kTcp4, VirtioNetHeader::kTcp6, VirtioNetHeader::kUdp}) {
    CHECK(refused([&](VirtioNetHeader& h) { h.gso = gso; }));
  }
  for (int gso : {2, 6, 7, 0x7f, 0x80, 0x85, 0xff}) {
    CHECK(refused([&](VirtioNetHeader& h) { h.gso = static_cast<std::uint8_t>(gso); }));
  }
  CHECK(refused([](VirtioNetHeader& h) { h.segment_size = 0; }));
  CHECK(refused([](VirtioNetHeader& h) { h.segment_size = 39; }));
  CHECK_FALSE(refused([](VirtioNetHeader& h) { h.segment_size = 40; }));
  CHECK(refused([](VirtioNetHeader& h) { h.checksum_offset = 16; }));
  CHECK(refused([](VirtioNetHeader& h) { h.checksum_start += 8; }));
  // Its checksum is right, and so is one that has not to be completed.
  CHECK_FALSE(refused([](VirtioNetHeader& h) { h.flags = 0; }));
  frame.back() ^= 1;
  CHECK(refused([](VirtioNetHeader& h) { h.flags = 0; }));
}

TEST_CASE("several datagrams in one frame are those that the guest sent") {
  Family family = GENERATE(Family::v4, Family::v6);
  auto [payload, segment, frames] =
      GENERATE(std::tuple<std::size_t, std::uint16_t, std::size_t>(5000, 1000, 5),
               std::tuple<std::size_t, std::uint16_t, std::size_t>(5001, 1000, 6),
               std::tuple<std::size_t, std::uint16_t, std::size_t>(128, 1, 128),
               std::tuple<std::size_t, std::uint16_t, std::size_t>(65000, 1472, 45));
  Octets frame = udp_frame(family, payload);
  auto offload = check_offload(partial_udp(frame, segment), frame);
  REQUIRE(offload);
  CHECK(offload->datagram_size == segment);
  auto parts = cut(frame, segment);
  REQUIRE(parts.size() == frames);
  Octets joined;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    auto packet = wire::Packet::parse(ConstBytes(parts[i]).subspan(kEthernet));
    REQUIRE(packet);
    CHECK(packet->header_checksum_ok());
    CHECK(packet->total_size() + kEthernet == parts[i].size());
    auto datagram = wire::UdpView::parse(packet->payload());
    REQUIRE(datagram);
    CHECK(datagram->destination_port() == Port(5000));
    CHECK(datagram->payload().size() == (i + 1 < parts.size() ? segment : payload - i * segment));
    joined.insert(joined.end(), datagram->payload().begin(), datagram->payload().end());
  }
  std::size_t at = l4_of(frame) + 8;
  CHECK(joined == Octets(frame.begin() + static_cast<std::ptrdiff_t>(at), frame.end()));
}

TEST_CASE("what the guest is left to cut and sum is what we would have made") {
  std::mt19937 random(6);
  auto upto = [&](std::size_t most) {
    return std::uniform_int_distribution<std::size_t>(0, most)(random);
  };
  const Offloads all{.checksum = true, .tcp4 = true, .tcp6 = true, .tcp_ecn = true};
  for (int round = 0; round < 200; ++round) {
    TestFrame made({.family = upto(1) != 0 ? Family::v4 : Family::v6,
                    .tcp_options = upto(10) * 4,
                    .payload = upto(3) == 0 ? 0 : upto(60000),
                    .segment_size = static_cast<std::uint16_t>(
                        upto(5) == 0 ? 0 : wire::kLeastTcpSegment + upto(9000)),
                    .flags = static_cast<std::uint8_t>(upto(255))});
    RxFrame frame = made.view();
    std::array<std::uint8_t, kMaxHead> head;
    auto header = leave_to_guest(frame, all, head);
    REQUIRE(header);
    CHECK(header->flags == VirtioNetHeader::kNeedsChecksum);
    CHECK(header->checksum_start == frame.l4_offset);
    CHECK(header->checksum_offset == 16);
    REQUIRE(cut_for_guest(frame, *header, head) == test::reference_cut(frame));
    // The pseudo header's sum is there: completing it gives what the whole frame should have.
    Octets whole(head.begin(), head.begin() + static_cast<std::ptrdiff_t>(frame.head.size()));
    for (const iovec& piece : frame.payload) {
      auto* at = static_cast<const std::uint8_t*>(piece.iov_base);
      whole.insert(whole.end(), at, at + piece.iov_len);
    }
    wire::Checksum sum;
    sum.add(ConstBytes(whole).subspan(frame.l4_offset));
    store_be16(&whole[frame.l4_offset + 16], sum.value());
    auto packet = wire::Packet::parse(ConstBytes(whole).subspan(kEthernet));
    REQUIRE(packet);
    wire::Checksum all_of_it = wire::pseudo_header(packet->source(), packet->destination(),
                                                   wire::IpProtocol::tcp, packet->payload().size());
    all_of_it.add(packet->payload());
    CHECK(all_of_it.is_valid());
  }
}

TEST_CASE("a guest gets no segmentation that it did not take") {
  std::array<std::uint8_t, kMaxHead> head;
  TestFrame large({.payload = 5000, .segment_size = 1460});
  CHECK_FALSE(leave_to_guest(large.view(), {}, head));
  CHECK_FALSE(leave_to_guest(large.view(), {.checksum = true, .tcp6 = true}, head));
  CHECK_FALSE(leave_to_guest(large.view(), {.tcp4 = true}, head));
  auto header = leave_to_guest(large.view(), {.checksum = true, .tcp4 = true}, head);
  REQUIRE(header);
  CHECK(header->gso == VirtioNetHeader::kTcp4);
  CHECK(header->segment_size == 1460);
  TestFrame congested({.payload = 5000, .segment_size = 1460, .flags = 0x90});
  CHECK_FALSE(leave_to_guest(congested.view(), {.checksum = true, .tcp4 = true}, head));
  header =
      leave_to_guest(congested.view(), {.checksum = true, .tcp4 = true, .tcp_ecn = true}, head);
  REQUIRE(header);
  CHECK(header->gso == (VirtioNetHeader::kTcp4 | VirtioNetHeader::kEcn));
  TestFrame small({.payload = 1460, .segment_size = 1460});
  header = leave_to_guest(small.view(), {.checksum = true}, head);
  REQUIRE(header);
  CHECK(header->gso == VirtioNetHeader::kNone);
}
