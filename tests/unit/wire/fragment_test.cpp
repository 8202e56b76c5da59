#include "wire/fragment.h"

#include <catch2/catch.hpp>
#include <vector>

#include "wire/packets.h"

using namespace sluice;
using namespace sluice::wire;
using sluice::testing::Frame;

namespace {

IpHeader header(Family family, std::size_t payload) {
  IpHeader ip;
  ip.source = family == Family::v4 ? testing::kV4Peer : testing::kV6Peer;
  ip.destination = family == Family::v4 ? testing::kV4Guest : testing::kV6Guest;
  ip.protocol = IpProtocol::udp;
  ip.ttl = 61;
  ip.payload_size = payload;
  return ip;
}

}  // namespace

TEST_CASE("a packet that fits the MTU stays whole, one byte more cuts it") {
  for (Family family : {Family::v4, Family::v6}) {
    IpHeader ip = header(family, 1500 - (family == Family::v4 ? 20 : 40));
    auto whole = Fragmenter::make(ip, 1500, 7);
    REQUIRE(whole);
    CHECK(whole->count() == 1);
    auto slice = whole->next();
    REQUIRE(slice);
    CHECK(slice->payload_size == ip.payload_size);
    CHECK(slice->header_size == ip.size());
    CHECK_FALSE(whole->next());
    ++ip.payload_size;
    CHECK(Fragmenter::make(ip, 1500, 7)->count() == 2);
  }
}

TEST_CASE("fragments cover the packet in order, each within the MTU") {
  for (Family family : {Family::v4, Family::v6}) {
    for (std::size_t payload : {1481u, 3000u, 8008u, 65515u}) {
      for (std::size_t mtu : {1280u, 1500u, 9000u}) {
        auto cutter = Fragmenter::make(header(family, payload), mtu, 0x1234);
        REQUIRE(cutter);
        std::size_t covered = 0, count = 0;
        while (auto slice = cutter->next()) {
          Frame packet = testing::concat({slice->header(), Frame(slice->payload_size)});
          REQUIRE(packet.size() <= mtu);
          auto parsed = Packet::parse(packet);
          REQUIRE(parsed);
          CHECK(parsed->header_checksum_ok());
          CHECK(parsed->total_size() == packet.size());
          CHECK(parsed->ttl() == 61);
          CHECK(parsed->protocol() == IpProtocol::udp);
          CHECK(slice->payload_offset == covered);
          covered += slice->payload_size;
          ++count;
          bool last = covered == payload;
          if (payload + parsed->header_size() <= mtu) continue;  // never cut
          REQUIRE(parsed->is_fragment());
          CHECK(parsed->fragment()->offset == slice->payload_offset);
          CHECK(parsed->fragment()->more == !last);
          CHECK(parsed->fragment()->id == 0x1234);
          if (family == Family::v4) CHECK_FALSE(parsed->dont_fragment());
        }
        CHECK(covered == payload);
        CHECK(count == Fragmenter::make(header(family, payload), mtu, 0)->count());
      }
    }
  }
}

TEST_CASE("an MTU below the family's least and a packet too long are refused") {
  CHECK_FALSE(Fragmenter::make(header(Family::v4, 100), 67, 1));
  CHECK(Fragmenter::make(header(Family::v4, 100), 68, 1));
  CHECK_FALSE(Fragmenter::make(header(Family::v6, 100), 1279, 1));
  CHECK(Fragmenter::make(header(Family::v6, 100), 1280, 1));
  CHECK_FALSE(Fragmenter::make(header(Family::v4, 65516), 1500, 1));
  CHECK_FALSE(Fragmenter::make(header(Family::v6, 65536), 1500, 1));
}

TEST_CASE("an empty packet is one slice") {
  auto cutter = Fragmenter::make(header(Family::v4, 0), 1500, 1);
  CHECK(cutter->count() == 1);
  CHECK(cutter->next()->payload_size == 0);
  CHECK_FALSE(cutter->next());
}

TEST_CASE("a part of pieces is found without a copy") {
  Frame memory = testing::pattern(30);
  iovec pieces[] = {{memory.data(), 10}, {memory.data() + 10, 0}, {memory.data() + 10, 20}};
  iovec out[3];
  REQUIRE(slice_pieces(pieces, 4, 12, out) == 2);
  CHECK(out[0].iov_base == memory.data() + 4);
  CHECK(out[0].iov_len == 6);
  CHECK(out[1].iov_base == memory.data() + 10);
  CHECK(out[1].iov_len == 6);
  REQUIRE(slice_pieces(pieces, 10, 20, out) == 1);
  CHECK(out[0].iov_len == 20);
  CHECK(slice_pieces(pieces, 0, 30, out) == 2);
}

TEST_CASE("a part beyond the pieces, or one that needs more places, is refused") {
  Frame memory(30);
  iovec pieces[] = {{memory.data(), 10}, {memory.data() + 10, 20}};
  iovec out[2];
  CHECK(slice_pieces(pieces, 0, 31, out) == 0);
  CHECK(slice_pieces(pieces, 31, 1, out) == 0);
  CHECK(slice_pieces(pieces, 5, 10, std::span(out).first(1)) == 0);
  CHECK(slice_pieces(pieces, 5, 0, out) == 0);
}
