#include <catch2/catch.hpp>

#include <algorithm>
#include <array>
#include <functional>

#include "flow/segment_joiner.h"
#include "support/letters.h"
#include "support/tcp_frames.h"
#include "wire/tcp.h"

using namespace sluice;
using namespace sluice::test;
using flow::SegmentJoiner;
using wire::TcpFlags;

namespace {

constexpr std::size_t kV4Headers = 14 + 20 + 32;

SegmentJoiner::Segment segment_of(Bytes frame, const BufferRef& buffer) {
  std::size_t tcp_at = frame[14] >> 4 == 4 ? 34 : 54;
  std::size_t size = std::size_t{4} * (frame[tcp_at + 12] >> 4);
  return {.frame = frame,
          .header = frame.subspan(tcp_at, size),
          .payload = frame.subspan(tcp_at + size),
          .buffer = buffer};
}

std::string joined(const SegmentJoiner& joiner) {
  std::string out;
  stack::InSegment segment = joiner.segment();
  for (const iovec& piece : segment.payload) {
    out.append(static_cast<const char*>(piece.iov_base), piece.iov_len);
  }
  CHECK(out.size() == segment.payload_size);
  CHECK(segment.buffers.size() == segment.payload.size());
  return out;
}

/// A joiner that has one segment, and the frame that would be the next.
struct World {
  explicit World(Family of = Family::v4, bool timestamps = true) : family(of) {
    spec = {.family = family, .timestamps = timestamps, .payload = letters(1400, 'a')};
    joiner.begin(segment_of(slab.add(make_tcp_frame(spec)), slab.buffer()));
    spec.sequence += 1400;
    spec.payload = letters(1400, 'A');
  }

  bool add(ConstBytes frame, bool trusted = false) {
    return joiner.add_frame(slab.add(frame), slab.buffer(), trusted);
  }
  /// Whether the next frame, changed and signed again, is taken.
  bool takes(const std::function<void(Bytes frame)>& change) {
    auto frame = make_tcp_frame(spec);
    change(frame);
    sign_tcp_frame(frame);
    return add(frame);
  }

  Family family;
  TcpFrameSpec spec;
  FrameSlab slab;
  SegmentJoiner joiner;
};

}  // namespace

TEST_CASE("frames of a read that continue a flow are one segment in one piece") {
  Family family = GENERATE(Family::v4, Family::v6);
  bool timestamps = GENERATE(true, false);
  CAPTURE(family, timestamps);
  World world(family, timestamps);
  std::string expected = letters(1400, 'a');
  for (std::size_t size : {1400u, 1u, 777u, 1400u, 3u}) {
    world.spec.payload = letters(size, 'B');
    world.spec.acknowledgment += 10;
    world.spec.window += 1;
    REQUIRE(world.add(make_tcp_frame(world.spec)));
    expected += world.spec.payload;
    world.spec.sequence += static_cast<std::uint32_t>(size);
  }
  CHECK(joined(world.joiner) == expected);
  CHECK(world.joiner.segment().payload.size() == 1);
  auto view = wire::TcpView::parse(world.joiner.segment().header);
  REQUIRE(view);
  CHECK(view->sequence() == 1000);
  CHECK(view->acknowledgment() == world.spec.acknowledgment);
  CHECK(view->window() == world.spec.window);
}

TEST_CASE("what lies between two frames of a flow is not written to") {
  World world;
  auto other = make_tcp_frame({.payload = letters(20, 'x')});
  Bytes between = world.slab.add(other);
  REQUIRE(world.add(make_tcp_frame(world.spec)));
  CHECK(joined(world.joiner) == letters(1400, 'a') + letters(1400, 'A'));
  CHECK(world.joiner.segment().payload.size() == 2);
  CHECK(std::ranges::equal(between, other));
}

TEST_CASE("a frame of another read is a piece of its own") {
  World world;
  FrameSlab other;
  Bytes frame = other.add(make_tcp_frame(world.spec));
  REQUIRE(world.joiner.add_frame(frame, other.buffer(), false));
  CHECK(joined(world.joiner) == letters(1400, 'a') + letters(1400, 'A'));
  CHECK(world.joiner.segment().payload.size() == 2);
  CHECK(world.joiner.segment().buffers[1].get() == other.buffer().get());
}

TEST_CASE("payload is moved up to the limit, and left where it lies past it") {
  World world;
  world.spec.payload = letters(SegmentJoiner::kMaxMoved, 'b');
  REQUIRE(world.add(make_tcp_frame(world.spec)));
  CHECK(world.joiner.segment().payload.size() == 1);
  world.spec.sequence += SegmentJoiner::kMaxMoved;
  world.spec.payload = letters(SegmentJoiner::kMaxMoved + 1, 'c');
  REQUIRE(world.add(make_tcp_frame(world.spec)));
  CHECK(world.joiner.segment().payload.size() == 2);
  CHECK(joined(world.joiner) == letters(1400, 'a') + letters(SegmentJoiner::kMaxMoved, 'b') +
                                    letters(SegmentJoiner::kMaxMoved + 1, 'c'));
}

TEST_CASE("a joined segment grows to its limit and not past it") {
  World world;
  std::size_t left = SegmentJoiner::kMaxJoined - 1400;
  world.spec.payload = letters(left + 1, 'b');
  CHECK_FALSE(world.add(make_tcp_frame(world.spec)));
  world.spec.payload.resize(left);
  CHECK(world.add(make_tcp_frame(world.spec)));
  CHECK(world.joiner.segment().payload_size == SegmentJoiner::kMaxJoined);
  world.spec.sequence += static_cast<std::uint32_t>(left);
  world.spec.payload = "c";
  CHECK_FALSE(world.add(make_tcp_frame(world.spec)));
  CHECK(world.joiner.segment().payload_size == SegmentJoiner::kMaxJoined);
}

TEST_CASE("PSH of any joined segment stays, and no other flag is joined") {
  World world;
  for (std::uint8_t flag : {TcpFlags::kFin, TcpFlags::kSyn, TcpFlags::kRst, TcpFlags::kUrg,
                            TcpFlags::kEce, TcpFlags::kCwr}) {
    world.spec.flags = TcpFlags::kAck | flag;
    CHECK_FALSE(world.add(make_tcp_frame(world.spec)));
  }
  world.spec.flags = TcpFlags::kPsh;
  CHECK_FALSE(world.add(make_tcp_frame(world.spec)));
  world.spec.flags = TcpFlags::kAck | TcpFlags::kPsh;
  CHECK(world.add(make_tcp_frame(world.spec)));
  world.spec.sequence += 1400;
  world.spec.flags = TcpFlags::kAck;
  CHECK(world.add(make_tcp_frame(world.spec)));
  CHECK(world.joiner.segment().header[13] == (TcpFlags::kAck | TcpFlags::kPsh));
}

TEST_CASE("a frame that differs in a header joins nothing") {
  World v4;
  auto xor_at = [](std::size_t at, std::uint8_t bits) {
    return [at, bits](Bytes frame) { frame[at] ^= bits; };
  };
  // Ethernet's addresses and type; TOS; DF, MF, fragment offset; TTL; protocol; addresses; ports;
  // sequence number; data offset and the bits beside it; the options' layout.
  for (std::size_t at : {0u, 6u, 11u, 15u, 22u, 23u, 26u, 33u, 34u, 37u, 38u, 41u, 54u, 57u}) {
    CAPTURE(at);
    CHECK_FALSE(v4.takes(xor_at(at, 1)));
  }
  CHECK_FALSE(v4.takes(xor_at(20, 0x40)));
  CHECK_FALSE(v4.takes(xor_at(20, 0x20)));
  CHECK_FALSE(v4.takes(xor_at(46, 0x10)));
  CHECK_FALSE(v4.takes(xor_at(46, 0x01)));
  CHECK(v4.joiner.segment().payload_size == 1400);
  // Identification, acknowledgment number, window, timestamps.
  CHECK(v4.takes([](Bytes frame) {
    for (std::size_t at : {18u, 42u, 48u, 58u, 65u}) frame[at] ^= 0x55;
  }));

  World v6(Family::v6);
  // Traffic class, flow label, next header, hop limit, addresses.
  for (std::size_t at : {15u, 17u, 20u, 21u, 22u, 37u, 38u, 53u, 54u, 57u}) {
    CAPTURE(at);
    auto frame = make_tcp_frame(v6.spec);
    frame[at] ^= 1;
    if (at != 15) sign_tcp_frame(frame);
    CHECK_FALSE(v6.add(frame));
  }
  CHECK(v6.add(make_tcp_frame(v6.spec)));
}

TEST_CASE("checksums of what joins are verified") {
  World world;
  auto good = make_tcp_frame(world.spec);
  auto bad_ip = good, bad_tcp = good, bad_payload = good;
  bad_ip[24] ^= 1;
  bad_tcp[50] ^= 1;
  bad_payload.back() ^= 1;
  CHECK_FALSE(world.add(bad_ip));
  CHECK_FALSE(world.add(bad_ip, true));
  CHECK_FALSE(world.add(bad_tcp));
  CHECK_FALSE(world.add(bad_payload));
  CHECK(world.add(bad_tcp, true));
}

TEST_CASE("a length that the frame does not hold joins nothing, padding is left off") {
  World world;
  auto cut = make_tcp_frame(world.spec);
  cut.pop_back();
  CHECK_FALSE(world.add(cut));
  auto headers = make_tcp_frame(world.spec);
  headers.resize(kV4Headers);
  CHECK_FALSE(world.add(headers));
  CHECK_FALSE(world.add({}));
  auto empty = world.spec;
  empty.payload.clear();
  CHECK_FALSE(world.add(make_tcp_frame(empty)));
  CHECK_FALSE(world.takes([](Bytes frame) { store_be16(frame.data() + 16, 10); }));

  world.spec.payload = "end";
  auto padded = make_tcp_frame(world.spec);
  padded.insert(padded.end(), 9, 0xee);
  CHECK(world.add(padded));
  world.spec.sequence += 3;
  world.spec.payload = " and more";
  CHECK(world.add(make_tcp_frame(world.spec)));
  CHECK(joined(world.joiner) == letters(1400, 'a') + "end and more");
}

TEST_CASE("a frame whose end is lent joins with what is there and what is lent") {
  World world;
  std::string rest = letters(9000, 'r');
  // What is there is not moved behind the first one: what is lent follows it.
  world.spec.payload = letters(100, 'B') + rest;
  auto frame = make_tcp_frame(world.spec);
  std::array<iovec, 3> pieces{{{rest.data(), 4000}, {rest.data(), 0}, {rest.data() + 4000, 5000}}};
  LentBytes lent{.pieces = pieces, .size = rest.size()};
  Bytes placed = world.slab.add(frame);
  std::ranges::fill(placed.last(rest.size()), std::uint8_t{'?'});
  REQUIRE(world.joiner.add_frame(placed, world.slab.buffer(), true, lent));
  CHECK((joined(world.joiner) == letters(1400, 'a') + letters(100, 'B') + rest));
  // And the next one, which is whole, is not moved over it.
  world.spec.sequence += 9100;
  world.spec.payload = letters(50, 'C');
  REQUIRE(world.add(make_tcp_frame(world.spec)));
  CHECK((joined(world.joiner) == letters(1400, 'a') + letters(100, 'B') + rest + letters(50, 'C')));
}

TEST_CASE("what is lent of a frame is not its padding, nor its headers") {
  World world;
  std::string rest = letters(1400, 'r');
  iovec piece{rest.data(), rest.size()};
  auto frame = make_tcp_frame(world.spec);
  SECTION("padding") {
    frame.resize(frame.size() + 4);
    LentBytes lent{.pieces = {&piece, 1}, .size = 100};
    CHECK_FALSE(world.joiner.add_frame(world.slab.add(frame), world.slab.buffer(), true, lent));
  }
  SECTION("all of the payload, and one byte more") {
    for (std::size_t more : {0u, 1u}) {
      piece.iov_len = rest.size() + more;
      LentBytes lent{.pieces = {&piece, 1}, .size = piece.iov_len};
      World other;
      CHECK(other.joiner.add_frame(other.slab.add(frame), other.slab.buffer(), true, lent) ==
            (more == 0));
    }
  }
}

TEST_CASE("nothing joins an empty joiner, a packet that was no frame, or unusual options") {
  FrameSlab slab;
  SegmentJoiner joiner;
  TcpFrameSpec spec{.payload = "first"};
  auto first = make_tcp_frame(spec);
  CHECK(joiner.empty());
  CHECK_FALSE(joiner.add_frame(slab.add(first), slab.buffer(), false));

  auto segment = segment_of(slab.add(first), slab.buffer());
  segment.frame = {};
  joiner.begin(segment);
  spec.sequence += 5;
  spec.payload = "second";
  Bytes second = slab.add(make_tcp_frame(spec));
  CHECK_FALSE(joiner.add_frame(second, slab.buffer(), false));
  CHECK(joiner.add(segment_of(second, slab.buffer())));
  CHECK(joined(joiner) == "firstsecond");
  CHECK_FALSE(joiner.add(segment_of(second, slab.buffer())));
  joiner.clear();
  CHECK(joiner.empty());

  // A SACK block in place of timestamps: each is read anew.
  first[56] = 1;
  joiner.begin(segment_of(slab.add(first), slab.buffer()));
  auto next = make_tcp_frame(spec);
  next[56] = 1;
  sign_tcp_frame(next);
  CHECK_FALSE(joiner.add_frame(slab.add(next), slab.buffer(), false));
}
