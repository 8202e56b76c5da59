#include "stack/reassembly.h"

#include <catch2/catch.hpp>
#include <vector>

#include "wire/fragment.h"
#include "wire/packets.h"
#include "wire/udp.h"

using namespace sluice;
using namespace sluice::stack;
using namespace sluice::wire;
using sluice::testing::Frame;

namespace {

const HashKey kKey{{3, 4}};
constexpr TimePoint kStart{};

/// A UDP packet from the guest of `payload` bytes, and its fragments for an MTU.
struct Cut {
  Frame whole;
  std::vector<Frame> fragments;
};

Cut cut(Family family, std::size_t payload, std::size_t mtu, std::uint32_t id = 1) {
  Endpoint from{family == Family::v4 ? testing::kV4Guest : testing::kV6Guest, Port(1000)};
  Endpoint to{family == Family::v4 ? testing::kV4Peer : testing::kV6Peer, Port(2000)};
  Cut result;
  result.whole.resize(payload + 48);
  result.whole.resize(emit_udp(result.whole, from, to, testing::pattern(payload, id)));
  IpHeader ip;
  ip.source = from.address;
  ip.destination = to.address;
  ip.payload_size = 8 + payload;
  auto cutter = Fragmenter::make(ip, mtu, id);
  while (auto slice = cutter->next()) {
    result.fragments.push_back(testing::concat(
        {slice->header(), ConstBytes(result.whole)
                              .subspan(ip.size() + slice->payload_offset, slice->payload_size)}));
  }
  return result;
}

/// One fragment of an IPv4 packet, of any shape.
Frame piece(std::uint32_t offset, std::size_t size, bool more, std::uint16_t id = 1,
            IpProtocol protocol = IpProtocol::udp) {
  Frame bytes = testing::ip_packet(Family::v4, protocol, testing::pattern(size, offset));
  store_be16(&bytes[4], id);
  store_be16(&bytes[6], static_cast<std::uint16_t>(offset / 8 | (more ? 0x2000 : 0)));
  return bytes;
}

std::optional<Reassembled> add(Reassembler& reassembler, const Frame& fragment,
                               TimePoint now = kStart) {
  auto packet = Packet::parse(fragment);
  REQUIRE(packet);
  return reassembler.add(*packet, now);
}

bool is_the_udp_packet(const Reassembled& got, const Frame& whole) {
  auto want = Packet::parse(whole);
  auto udp = UdpView::parse(got.packet.payload());
  return udp && got.packet.header_checksum_ok() && !got.packet.is_fragment() &&
         udp->checksum_ok(got.packet.source(), got.packet.destination()) &&
         std::ranges::equal(got.packet.payload(), want->payload());
}

}  // namespace

TEST_CASE("fragments in any order give the packet back, in both families") {
  for (Family family : {Family::v4, Family::v6}) {
    Cut packet = cut(family, 7000, 1500);
    REQUIRE(packet.fragments.size() == 5);
    std::vector<std::size_t> order{0, 1, 2, 3, 4};
    do {
      Reassembler reassembler(kKey);
      for (std::size_t i = 0; i < 4; ++i) {
        CHECK_FALSE(add(reassembler, packet.fragments[order[i]]));
      }
      auto got = add(reassembler, packet.fragments[order[4]]);
      REQUIRE(got);
      CHECK(is_the_udp_packet(*got, packet.whole));
      CHECK(reassembler.sets() == 0);
      CHECK(reassembler.bytes() == 0);
      CHECK(reassembler.counters().reassembled == 1);
    } while (std::ranges::next_permutation(order).found);
  }
}

TEST_CASE("the longest datagrams are put together") {
  for (Family family : {Family::v4, Family::v6}) {
    Cut packet = cut(family, family == Family::v4 ? 65507 : 65527, 1280);
    Reassembler reassembler(kKey);
    std::optional<Reassembled> got;
    for (const Frame& fragment : packet.fragments) got = add(reassembler, fragment);
    REQUIRE(got);
    CHECK(is_the_udp_packet(*got, packet.whole));
  }
}

TEST_CASE("a fragment that comes twice does no harm") {
  Cut packet = cut(Family::v4, 4000, 1500);
  Reassembler reassembler(kKey);
  CHECK_FALSE(add(reassembler, packet.fragments[0]));
  CHECK_FALSE(add(reassembler, packet.fragments[2]));
  CHECK_FALSE(add(reassembler, packet.fragments[0]));
  CHECK_FALSE(add(reassembler, packet.fragments[2]));
  CHECK(reassembler.counters().duplicates == 2);
  CHECK(add(reassembler, packet.fragments[1]));
}

TEST_CASE("any overlap drops the set and what still comes of it") {
  struct Case {
    Frame first, second;
  };
  const Case cases[] = {
      {piece(0, 64, true), piece(56, 64, true)},     // tail
      {piece(64, 64, true), piece(8, 64, true)},     // head
      {piece(0, 128, true), piece(32, 32, true)},    // inside
      {piece(32, 32, true), piece(0, 128, true)},    // around
      {piece(0, 64, true), piece(0, 32, true)},      // same begin
      {piece(64, 64, false), piece(64, 64, true)},   // same place, no longer the last
      {piece(64, 64, false), piece(128, 8, true)},   // beyond the end
      {piece(64, 64, false), piece(160, 8, false)},  // a second end
      {piece(128, 8, true), piece(64, 32, false)},   // an end before what is there
  };
  for (const Case& c : cases) {
    Reassembler reassembler(kKey);
    CHECK_FALSE(add(reassembler, c.first));
    CHECK_FALSE(add(reassembler, c.second));
    CHECK(reassembler.counters().overlapping == 1);
    CHECK(reassembler.bytes() == 0);
    CHECK_FALSE(add(reassembler, piece(0, 8, true)));
    CHECK(reassembler.counters().of_dropped_set == 1);
  }
}

TEST_CASE("the same place with other content is an overlap, not a duplicate") {
  Reassembler reassembler(kKey);
  Frame fragment = piece(0, 64, true);
  add(reassembler, fragment);
  fragment.back() ^= 1;
  add(reassembler, fragment);
  CHECK(reassembler.counters().duplicates == 0);
  CHECK(reassembler.counters().overlapping == 1);
}

TEST_CASE("empty fragments and odd sizes before the end are refused") {
  Reassembler reassembler(kKey);
  add(reassembler, piece(8, 0, true));
  add(reassembler, piece(8, 0, false));
  add(reassembler, piece(0, 12, true));
  CHECK(reassembler.counters().malformed == 3);
  CHECK(reassembler.sets() == 0);
}

TEST_CASE("a whole packet is not the reassembler's business") {
  Reassembler reassembler(kKey);
  CHECK_FALSE(add(reassembler, testing::ip_packet(Family::v4, IpProtocol::udp, Frame(8))));
  CHECK(reassembler.counters().malformed == 1);
}

TEST_CASE("a fragment that ends beyond 64 KiB is refused") {
  Reassembler reassembler(kKey);
  add(reassembler, piece(65528, 8, false));
  add(reassembler, piece(65504, 16, false));
  CHECK(reassembler.counters().too_long == 2);
  add(reassembler, piece(65504, 11, false));  // 20 + 65504 + 11 = 65535
  CHECK(reassembler.counters().too_long == 2);
  CHECK(reassembler.sets() == 1);
}

TEST_CASE("headers that differ between fragments can't make the packet too long") {
  Reassembler reassembler(kKey);
  add(reassembler, piece(65504, 11, false));
  for (std::uint32_t at = 1024; at < 65504; at += 1024) {
    add(reassembler, piece(at, std::min<std::size_t>(1024, 65504 - at), true));
  }
  Frame first = testing::ipv4_with_options(Frame(40, 1), Frame(1024));
  store_be16(&first[4], 1);
  store_be16(&first[6], 0x2000);
  CHECK_FALSE(add(reassembler, first));
  CHECK(reassembler.counters().too_long == 1);
  CHECK(reassembler.sets() == 0);
}

TEST_CASE("a first fragment must hold the transport header") {
  Reassembler reassembler(kKey);
  add(reassembler, piece(0, 16, true, 1, IpProtocol::tcp));
  CHECK(reassembler.counters().tiny_first == 1);
  add(reassembler, piece(0, 24, true, 1, IpProtocol::tcp));
  add(reassembler, piece(0, 8, true, 2, IpProtocol::udp));
  CHECK(reassembler.counters().tiny_first == 1);
}

TEST_CASE("packets that differ in address, id or IPv4 protocol are not mixed") {
  Reassembler reassembler(kKey);
  Frame other = piece(0, 64, true);
  store_be32(&other[16], 0x0a000001);
  add(reassembler, piece(0, 64, true));
  add(reassembler, other);
  add(reassembler, piece(0, 64, true, 2));
  add(reassembler, piece(0, 64, true, 1, IpProtocol::icmp));
  CHECK(reassembler.sets() == 4);
}

TEST_CASE("a set has its time from the first fragment on") {
  Reassembler reassembler(kKey);
  Cut packet = cut(Family::v4, 4000, 1500);
  add(reassembler, packet.fragments[0]);
  TimePoint end = *reassembler.next_expiry();
  CHECK(end == kStart + ReassemblyLimits().timeout);
  add(reassembler, packet.fragments[1], end - Duration(1));
  CHECK(reassembler.next_expiry() == end);

  Frame quoted;
  auto on_timeout = [&](ConstBytes first) { quoted.assign(first.begin(), first.end()); };
  reassembler.expire(end - Duration(1), on_timeout);
  CHECK(reassembler.sets() == 1);
  reassembler.expire(end, on_timeout);
  CHECK(reassembler.sets() == 0);
  CHECK(reassembler.bytes() == 0);
  CHECK(reassembler.counters().timed_out == 1);
  CHECK_FALSE(reassembler.next_expiry());
  REQUIRE(quoted.size() == 1280);
  CHECK(std::equal(quoted.begin(), quoted.end(), packet.fragments[0].begin()));
}

TEST_CASE("a set whose time is over takes nothing more, even before it was expired") {
  Reassembler reassembler(kKey);
  Cut packet = cut(Family::v4, 2000, 1500);
  add(reassembler, packet.fragments[0]);
  CHECK_FALSE(add(reassembler, packet.fragments[1], *reassembler.next_expiry()));
  CHECK(reassembler.counters().timed_out == 1);
  CHECK(reassembler.sets() == 1);
}

TEST_CASE("a timeout without the first fragment, or of a dropped set, tells nobody") {
  Reassembler reassembler(kKey);
  add(reassembler, piece(64, 64, true, 1));
  add(reassembler, piece(0, 64, true, 2));
  add(reassembler, piece(8, 64, true, 2));
  int told = 0;
  reassembler.expire(kStart + std::chrono::hours(1), [&](ConstBytes) { ++told; });
  CHECK(told == 0);
  CHECK(reassembler.counters().timed_out == 1);
}

TEST_CASE("sets that never complete push out the oldest and never more memory than allowed") {
  ReassemblyLimits limits;
  Reassembler reassembler(kKey, limits);
  for (int id = 0; id < 10000; ++id) {
    add(reassembler, piece(65000, 64, true, static_cast<std::uint16_t>(id)));
    REQUIRE(reassembler.bytes() <= limits.max_bytes);
    REQUIRE(reassembler.sets() <= limits.max_sets);
  }
  CHECK(reassembler.counters().evicted == 10000 - reassembler.sets());
  Cut packet = cut(Family::v4, 65507, 1500, 20000);
  std::optional<Reassembled> got;
  for (const Frame& fragment : packet.fragments) got = add(reassembler, fragment);
  CHECK(got);
}

TEST_CASE("64 of the longest packets can be on their way at once") {
  Reassembler reassembler(kKey);
  std::vector<Cut> packets;
  for (std::uint32_t id = 0; id < 64; ++id) {
    packets.push_back(cut(Family::v4, 65507, 9000, id));
    for (std::size_t i = 1; i < packets[id].fragments.size(); ++i) {
      add(reassembler, packets[id].fragments[i]);
    }
  }
  for (const Cut& packet : packets) {
    auto got = add(reassembler, packet.fragments[0]);
    REQUIRE(got);
    CHECK(is_the_udp_packet(*got, packet.whole));
  }
}

TEST_CASE("a set of more fragments than allowed is dropped") {
  Reassembler reassembler(kKey);
  for (std::uint32_t i = 0; i < 128; ++i) add(reassembler, piece(i * 16, 8, true));
  CHECK(reassembler.counters().too_many_fragments == 0);
  add(reassembler, piece(128 * 16, 8, true));
  CHECK(reassembler.counters().too_many_fragments == 1);
  CHECK(reassembler.bytes() == 0);
}

TEST_CASE("IPv6 headers before the fragment header are kept, and it is cut out") {
  Frame chain{44, 0, 1, 4, 0, 0, 0, 0};  // hop-by-hop padding, then a fragment
  Frame data = testing::pattern(24);
  store_be16(&data[4], 24);  // a UDP length
  auto fragment = [&](std::uint16_t offset, std::size_t size, bool more) {
    Frame header(8);
    header[0] = 17;
    store_be16(&header[2], static_cast<std::uint16_t>(offset | (more ? 1 : 0)));
    return testing::ip_packet(
        Family::v6, IpProtocol::hop_by_hop,
        testing::concat({chain, header, ConstBytes(data).subspan(offset, size)}));
  };
  Reassembler reassembler(kKey);
  CHECK_FALSE(add(reassembler, fragment(0, 16, true)));
  auto got = add(reassembler, fragment(16, 8, false));
  REQUIRE(got);
  CHECK(got->packet.protocol() == IpProtocol::udp);
  CHECK(got->packet.header_size() == 48);
  CHECK(got->packet.total_size() == 72);
  CHECK(std::ranges::equal(got->packet.payload(), data));
}

TEST_CASE("a fragment inside a fragment is refused") {
  Frame inner(8 + 16);
  inner[0] = 17;
  store_be16(&inner[2], 8 | 1);
  Frame header(8);
  header[0] = 44;
  auto fragment = [&](std::uint16_t offset, bool more) {
    store_be16(&header[2], static_cast<std::uint16_t>(offset | (more ? 1 : 0)));
    return testing::ip_packet(
        Family::v6, IpProtocol::fragment,
        testing::concat({header, ConstBytes(inner).subspan(offset, offset == 0 ? 16 : 8)}));
  };
  Reassembler reassembler(kKey);
  CHECK_FALSE(add(reassembler, fragment(0, true)));
  CHECK_FALSE(add(reassembler, fragment(16, false)));
  CHECK(reassembler.counters().unreadable == 1);
  CHECK(reassembler.sets() == 0);
}
