#include <catch2/catch.hpp>
#include <vector>

#include "wire/packets.h"
#include "wire/tcp.h"
#include "wire/udp.h"

using namespace sluice;
using namespace sluice::wire;
using sluice::testing::Frame;

namespace {

Frame segment_with_options(ConstBytes options, ConstBytes payload = {}) {
  Frame bytes(kTcpHeaderSize);
  bytes.insert(bytes.end(), options.begin(), options.end());
  bytes[12] = static_cast<std::uint8_t>(bytes.size() / 4 << 4);
  bytes.insert(bytes.end(), payload.begin(), payload.end());
  return bytes;
}

Frame with_flags(std::uint8_t flags) {
  Frame bytes = segment_with_options({});
  bytes[13] = flags;
  return bytes;
}

}  // namespace

TEST_CASE("a TCP segment shorter than its header is refused") {
  Frame bytes = segment_with_options(Frame(8, 1));
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    CHECK_FALSE(TcpView::parse(ConstBytes(bytes).first(size)));
  }
  CHECK(TcpView::parse(bytes));
}

TEST_CASE("a TCP data offset below 5 or beyond the segment is refused") {
  Frame bytes(40, 1);
  for (int words = 0; words < 16; ++words) {
    bytes[12] = static_cast<std::uint8_t>(words << 4);
    CHECK(TcpView::parse(bytes).has_value() == (words >= 5 && words <= 10));
  }
}

TEST_CASE("TCP options of length 0, 1 or beyond the header are refused") {
  for (std::uint8_t kind : {2, 3, 4, 5, 8, 30, 254}) {
    for (std::uint8_t length : {0, 1, 5, 255}) {
      CHECK_FALSE(TcpView::parse(segment_with_options(Frame{kind, length, 0, 0})));
    }
    CHECK_FALSE(TcpView::parse(segment_with_options(Frame{1, 1, 1, kind})));
  }
}

TEST_CASE("TCP options that lie about a known length are refused") {
  CHECK_FALSE(TcpView::parse(segment_with_options(Frame{2, 3, 0, 0})));
  CHECK_FALSE(TcpView::parse(segment_with_options(Frame{3, 4, 7, 0})));
  CHECK_FALSE(TcpView::parse(segment_with_options(Frame{4, 3, 0, 0})));
  CHECK_FALSE(TcpView::parse(segment_with_options(Frame{5, 4, 0, 0})));
  CHECK_FALSE(TcpView::parse(segment_with_options(Frame{8, 4, 0, 0})));
  CHECK(TcpView::parse(segment_with_options(Frame{30, 4, 0, 0})));  // unknown kinds may
}

TEST_CASE("TCP options may be 40 bytes of nothing") {
  Frame bytes = segment_with_options(Frame(40, 1), testing::pattern(3));
  auto view = TcpView::parse(bytes);
  REQUIRE(view);
  CHECK(view->header_size() == 60);
  CHECK(view->payload().size() == 3);
  CHECK_FALSE(view->mss());
  CHECK(TcpView::parse(segment_with_options(Frame(40, 0))));
}

TEST_CASE("behind the end of the TCP options nothing counts") {
  Frame bytes = segment_with_options(Frame{0, 2, 4, 5, 2, 0, 0, 0});
  auto view = TcpView::parse(bytes);
  REQUIRE(view);
  CHECK_FALSE(view->mss());
}

TEST_CASE("the options of a SYN are read") {
  Frame bytes = segment_with_options(
      Frame{2, 4, 0xff, 0xd7, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7});
  auto view = TcpView::parse(bytes);
  REQUIRE(view);
  CHECK(view->mss() == 65495);
  CHECK(view->window_scale() == 7);
  CHECK(view->sack_permitted());
  CHECK(view->has_timestamps());
}

TEST_CASE("a window scale above 14 counts as 14") {
  CHECK(TcpView::parse(segment_with_options(Frame{3, 3, 14, 0}))->window_scale() == 14);
  CHECK(TcpView::parse(segment_with_options(Frame{3, 3, 15, 0}))->window_scale() == 14);
  CHECK(TcpView::parse(segment_with_options(Frame{3, 3, 255, 0}))->window_scale() == 14);
}

TEST_CASE("an MSS of any value is told as it is") {
  for (int mss : {0, 1, 536, 65495, 65535}) {
    Frame options{2, 4, static_cast<std::uint8_t>(mss >> 8), static_cast<std::uint8_t>(mss)};
    CHECK(TcpView::parse(segment_with_options(options))->mss() == mss);
  }
}

TEST_CASE("flags that no TCP sends are told from those that one does") {
  using F = TcpFlags;
  auto sane = [](int flags) {
    return TcpView::parse(with_flags(static_cast<std::uint8_t>(flags)))->flags().are_sane();
  };
  CHECK_FALSE(sane(0));
  CHECK_FALSE(sane(0xff));
  CHECK_FALSE(sane(F::kSyn | F::kFin));
  CHECK_FALSE(sane(F::kSyn | F::kRst));
  CHECK_FALSE(sane(F::kFin | F::kRst | F::kAck));
  CHECK_FALSE(sane(F::kFin));
  CHECK_FALSE(sane(F::kFin | F::kPsh | F::kUrg));
  CHECK(sane(F::kSyn));
  CHECK(sane(F::kSyn | F::kEce | F::kCwr));
  CHECK(sane(F::kSyn | F::kAck));
  CHECK(sane(F::kFin | F::kAck));
  CHECK(sane(F::kRst));
  CHECK(sane(F::kRst | F::kAck));
  CHECK(sane(F::kAck | F::kPsh | F::kUrg));
}

TEST_CASE("only a lone SYN opens a connection") {
  CHECK(TcpFlags{TcpFlags::kSyn}.is_open());
  CHECK(TcpFlags{TcpFlags::kSyn | TcpFlags::kEce | TcpFlags::kCwr}.is_open());
  CHECK_FALSE(TcpFlags{TcpFlags::kSyn | TcpFlags::kAck}.is_open());
  CHECK_FALSE(TcpFlags{TcpFlags::kSyn | TcpFlags::kFin}.is_open());
  CHECK_FALSE(TcpFlags{TcpFlags::kAck}.is_open());
}

TEST_CASE("an urgent pointer beyond the data is seen") {
  Frame bytes = segment_with_options({}, testing::pattern(10));
  bytes[13] = TcpFlags::kAck | TcpFlags::kUrg;
  store_be16(&bytes[18], 10);
  CHECK_FALSE(TcpView::parse(bytes)->urgent_beyond_payload());
  store_be16(&bytes[18], 11);
  CHECK(TcpView::parse(bytes)->urgent_beyond_payload());
  bytes[13] = TcpFlags::kAck;
  CHECK_FALSE(TcpView::parse(bytes)->urgent_beyond_payload());
}

TEST_CASE("a TCP header with its options and checksum reads back as written") {
  for (bool v4 : {true, false}) {
    IpAddress from = v4 ? testing::kV4Guest : testing::kV6Guest;
    IpAddress to = v4 ? testing::kV4Peer : testing::kV6Peer;
    TcpHeader header{Port(40000), Port(443), 0xfffffff0,      7,   {TcpFlags::kSyn},
                     65535,       65495,     std::uint8_t{8}, true};
    Frame payload = testing::pattern(5);
    Frame bytes(header.size() + payload.size());
    std::copy(payload.begin(), payload.end(),
              bytes.begin() + static_cast<std::ptrdiff_t>(header.size()));
    Checksum rest = pseudo_header(from, to, IpProtocol::tcp, bytes.size());
    rest.add(payload);
    CHECK(header.emit(Bytes(bytes).first(header.size() - 1), rest) == 0);
    REQUIRE(header.emit(bytes, rest) == 32);
    auto view = TcpView::parse(bytes);
    REQUIRE(view);
    CHECK(view->checksum_ok(from, to));
    CHECK(view->mss() == 65495);
    CHECK(view->window_scale() == 8);
    CHECK(view->sack_permitted());
    CHECK(view->sequence_length() == 6);
    CHECK(view->payload().size() == 5);
    bytes.back() ^= 1;
    CHECK_FALSE(TcpView::parse(bytes)->checksum_ok(from, to));
  }
}

TEST_CASE("the reset for a SYN with data acknowledges both, that for an ACK takes its place") {
  Frame syn = segment_with_options({}, testing::pattern(10));
  store_be16(&syn[0], 4000);
  store_be16(&syn[2], 80);
  store_be32(&syn[4], 0xfffffffe);
  syn[13] = TcpFlags::kSyn;
  auto reset = reset_for(*TcpView::parse(syn));
  REQUIRE(reset);
  CHECK(reset->source_port == Port(80));
  CHECK(reset->destination_port == Port(4000));
  CHECK(reset->sequence == 0);
  CHECK(reset->acknowledgment == 9);
  CHECK(reset->flags == TcpFlags{TcpFlags::kRst | TcpFlags::kAck});

  store_be32(&syn[8], 1234);
  syn[13] = TcpFlags::kAck;
  reset = reset_for(*TcpView::parse(syn));
  CHECK(reset->sequence == 1234);
  CHECK(reset->flags == TcpFlags{TcpFlags::kRst});

  syn[13] = TcpFlags::kRst;
  CHECK_FALSE(reset_for(*TcpView::parse(syn)));
}

TEST_CASE("a UDP length below 8 or beyond the packet is refused") {
  Frame bytes(20);
  for (int length : {0, 1, 7, 21, 65535}) {
    store_be16(&bytes[4], static_cast<std::uint16_t>(length));
    CHECK_FALSE(UdpView::parse(bytes));
  }
  store_be16(&bytes[4], 8);
  CHECK(UdpView::parse(bytes)->payload().empty());
  store_be16(&bytes[4], 20);
  CHECK(UdpView::parse(bytes)->payload().size() == 12);
  for (std::size_t size = 0; size < 8; ++size) {
    CHECK_FALSE(UdpView::parse(ConstBytes(bytes).first(size)));
  }
}

TEST_CASE("UDP without a checksum is right in IPv4 and wrong in IPv6") {
  Frame bytes(12);
  store_be16(&bytes[4], 12);
  auto view = UdpView::parse(bytes);
  CHECK(view->checksum_ok(testing::kV4Guest, testing::kV4Peer));
  CHECK_FALSE(view->checksum_ok(testing::kV6Guest, testing::kV6Peer));
}

TEST_CASE("a UDP packet reads back as written, and a changed byte is seen") {
  Frame payload = testing::pattern(99);
  for (bool v4 : {true, false}) {
    Endpoint from{v4 ? testing::kV4Guest : testing::kV6Guest, Port(5353)};
    Endpoint to{v4 ? testing::kV4Peer : testing::kV6Peer, Port(53)};
    Frame bytes(200);
    std::size_t size = emit_udp(bytes, from, to, payload);
    REQUIRE(size == (v4 ? 20u : 40u) + 8 + 99);
    CHECK(emit_udp(Bytes(bytes).first(size - 1), from, to, payload) == 0);
    auto packet = Packet::parse(ConstBytes(bytes).first(size));
    auto view = UdpView::parse(packet->payload());
    REQUIRE(view);
    CHECK(view->source_port() == from.port);
    CHECK(view->destination_port() == to.port);
    CHECK(view->checksum_ok(from.address, to.address));
    bytes[size - 1] ^= 1;
    CHECK_FALSE(view->checksum_ok(from.address, to.address));
  }
}

TEST_CASE("a UDP checksum that comes out as zero is sent as all ones") {
  Endpoint from{testing::kV4Guest, Port(1)}, to{testing::kV4Peer, Port(2)};
  Frame bytes(30), payload(2);
  emit_udp(bytes, from, to, payload);
  // Put the checksum of the packet with a zero payload into the payload: now it sums to zero.
  store_be16(payload.data(), load_be16(&bytes[26]));
  REQUIRE(emit_udp(bytes, from, to, payload) == 30);
  CHECK(load_be16(&bytes[26]) == 0xffff);
  CHECK(UdpView::parse(ConstBytes(bytes).subspan(20))->checksum_ok(from.address, to.address));
}

TEST_CASE("the longest UDP datagrams fit and one byte more does not") {
  Frame bytes(70000), payload(65528);
  Endpoint v4{testing::kV4Guest, Port(1)}, v6{testing::kV6Guest, Port(1)};
  CHECK(emit_udp(bytes, v4, v4, ConstBytes(payload).first(65507)) == 65535);
  CHECK(emit_udp(bytes, v4, v4, ConstBytes(payload).first(65508)) == 0);
  CHECK(emit_udp(bytes, v6, v6, ConstBytes(payload).first(65527)) == 65575);
  CHECK(emit_udp(bytes, v6, v6, ConstBytes(payload).first(65528)) == 0);
  CHECK(emit_udp(bytes, v4, v6, ConstBytes(payload).first(1)) == 0);
}
