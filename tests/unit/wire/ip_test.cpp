#include "wire/ip.h"

#include <catch2/catch.hpp>
#include <vector>

#include "wire/ipv4.h"
#include "wire/ipv6.h"
#include "wire/packets.h"

using namespace sluice;
using namespace sluice::wire;
using sluice::testing::concat;
using sluice::testing::Frame;
using sluice::testing::ip_packet;

namespace {

/// An IPv6 packet whose chain begins with `first`; `chain` is all that follows the fixed header.
Frame ipv6_chain(IpProtocol first, ConstBytes chain) {
  return ip_packet(Family::v6, first, chain);
}

Frame extension(IpProtocol next, std::initializer_list<std::uint8_t> body) {
  Frame bytes((2 + body.size() + 7) / 8 * 8);
  bytes[0] = static_cast<std::uint8_t>(next);
  bytes[1] = static_cast<std::uint8_t>(bytes.size() / 8 - 1);
  std::ranges::copy(body, bytes.begin() + 2);
  return bytes;
}

Frame padding(IpProtocol next) {
  return extension(next, {1, 4, 0, 0, 0, 0});
}

Frame fragment_header(IpProtocol next, std::uint16_t offset, bool more) {
  Frame bytes(8);
  bytes[0] = static_cast<std::uint8_t>(next);
  store_be16(&bytes[2], static_cast<std::uint16_t>(offset | (more ? 1 : 0)));
  store_be32(&bytes[4], 0x01020304);
  return bytes;
}

}  // namespace

TEST_CASE("an IP packet of either family reads back as written") {
  for (Family family : {Family::v4, Family::v6}) {
    Frame payload = testing::pattern(33);
    Frame bytes = ip_packet(family, IpProtocol::udp, payload);
    bytes.resize(bytes.size() + 20);  // Ethernet padding
    auto packet = Packet::parse(bytes);
    REQUIRE(packet);
    CHECK(packet->family() == family);
    CHECK(packet->source() == (family == Family::v4 ? testing::kV4Guest : testing::kV6Guest));
    CHECK(packet->destination() == (family == Family::v4 ? testing::kV4Peer : testing::kV6Peer));
    CHECK(packet->protocol() == IpProtocol::udp);
    CHECK(packet->ttl() == 64);
    CHECK(packet->header_checksum_ok());
    CHECK_FALSE(packet->is_fragment());
    CHECK_FALSE(packet->has_options());
    CHECK(Frame(packet->payload().begin(), packet->payload().end()) == payload);
  }
}

TEST_CASE("a packet of no bytes, or of any other version, is refused") {
  CHECK_FALSE(Packet::parse({}));
  for (int version = 0; version < 16; ++version) {
    Frame bytes = ip_packet(Family::v6, IpProtocol::udp, testing::pattern(40));
    bytes[0] = static_cast<std::uint8_t>(version << 4);
    CHECK(Packet::parse(bytes).has_value() == (version == 6));
  }
}

TEST_CASE("an IPv4 header must fit in itself, its packet and its frame") {
  Frame good = ip_packet(Family::v4, IpProtocol::udp, testing::pattern(20));
  for (std::size_t size = 0; size < good.size(); ++size) {
    CHECK_FALSE(Packet::parse(ConstBytes(good).first(size)));
  }
  for (int words = 0; words < 16; ++words) {
    Frame bytes = good;
    bytes[0] = static_cast<std::uint8_t>(0x40 | words);
    std::fill(bytes.begin() + 20, bytes.end(), std::uint8_t{1});  // no-operation options
    CHECK(Packet::parse(bytes).has_value() == (words >= 5 && words <= 10));
  }
  for (int total : {0, 19, 41, 65535}) {
    Frame bytes = good;
    store_be16(&bytes[2], static_cast<std::uint16_t>(total));
    CHECK_FALSE(Packet::parse(bytes));
  }
  Frame bytes = good;
  store_be16(&bytes[2], 20);
  REQUIRE(Packet::parse(bytes));
  CHECK(Packet::parse(bytes)->payload().empty());
}

TEST_CASE("a wrong IPv4 header checksum is seen") {
  Frame bytes = ip_packet(Family::v4, IpProtocol::udp, {});
  bytes[8] ^= 1;
  CHECK_FALSE(Packet::parse(bytes)->header_checksum_ok());
}

TEST_CASE("well-formed IPv4 options of every size are stepped over") {
  for (std::size_t size = 0; size <= 40; size += 4) {
    Frame options(size, 1);
    if (size >= 8) {
      options[0] = 148;  // router alert
      options[1] = 4;
    }
    Frame bytes = testing::ipv4_with_options(options, testing::pattern(8));
    auto packet = Packet::parse(bytes);
    REQUIRE(packet);
    CHECK(packet->payload().size() == 8);
    CHECK(packet->has_options() == (size != 0));
  }
}

TEST_CASE("IPv4 options with a length of 0, 1 or beyond the header are refused") {
  for (std::uint8_t length : {0, 1, 5, 255}) {
    Frame bytes = testing::ipv4_with_options(Frame{7, length, 0, 0}, testing::pattern(8));
    CHECK_FALSE(Packet::parse(bytes));
  }
  CHECK_FALSE(Packet::parse(testing::ipv4_with_options(Frame{1, 1, 1, 7}, testing::pattern(8))));
  // Behind the end of the list nothing counts.
  CHECK(Packet::parse(testing::ipv4_with_options(Frame{0, 7, 255, 7}, testing::pattern(8))));
}

TEST_CASE("IPv4 source routes are refused") {
  for (std::uint8_t kind : {131, 137}) {
    Frame options{kind, 7, 4, 10, 0, 0, 1, 0};
    CHECK_FALSE(Packet::parse(testing::ipv4_with_options(options, testing::pattern(8))));
  }
}

TEST_CASE("an IPv4 fragment says where it belongs") {
  Frame bytes = ip_packet(Family::v4, IpProtocol::udp, testing::pattern(16));
  store_be16(&bytes[4], 0xabcd);
  store_be16(&bytes[6], 0x2000 | 185);
  auto packet = Packet::parse(bytes);
  REQUIRE(packet->is_fragment());
  CHECK(packet->fragment()->id == 0xabcd);
  CHECK(packet->fragment()->offset == 1480);
  CHECK(packet->fragment()->more);
  CHECK_FALSE(packet->dont_fragment());
}

TEST_CASE("an IPv6 packet shorter than its header or its length is refused") {
  Frame good = ip_packet(Family::v6, IpProtocol::udp, testing::pattern(20));
  for (std::size_t size = 0; size < good.size(); ++size) {
    CHECK_FALSE(Packet::parse(ConstBytes(good).first(size)));
  }
  CHECK(Packet::parse(good));
}

TEST_CASE("IPv6 extension headers are walked to the transport") {
  Frame udp = testing::pattern(12);
  Frame routing = extension(IpProtocol::destination_options, {4, 0, 0, 0, 0, 0});
  Frame bytes =
      ipv6_chain(IpProtocol::hop_by_hop,
                 concat({padding(IpProtocol::routing), routing, padding(IpProtocol::udp), udp}));
  auto packet = Packet::parse(bytes);
  REQUIRE(packet);
  CHECK(packet->protocol() == IpProtocol::udp);
  CHECK(packet->header_size() == 64);
  CHECK(packet->has_options());
  CHECK(Frame(packet->payload().begin(), packet->payload().end()) == udp);
}

TEST_CASE("eight IPv6 extension headers are walked, nine are refused") {
  for (int count : {8, 9}) {
    Frame chain;
    for (int i = 0; i < count; ++i) {
      Frame header = padding(i + 1 == count ? IpProtocol::udp : IpProtocol::destination_options);
      chain.insert(chain.end(), header.begin(), header.end());
    }
    Frame bytes = ipv6_chain(IpProtocol::destination_options, chain);
    CHECK(Packet::parse(bytes).has_value() == (count == 8));
  }
}

TEST_CASE("an IPv6 extension header that is cut or too long is refused") {
  Frame header = padding(IpProtocol::udp);
  for (std::size_t size = 0; size < 8; ++size) {
    CHECK_FALSE(
        Packet::parse(ipv6_chain(IpProtocol::destination_options, ConstBytes(header).first(size))));
  }
  header[1] = 1;  // 16 bytes where there are 8
  CHECK_FALSE(Packet::parse(ipv6_chain(IpProtocol::destination_options, header)));
}

TEST_CASE("hop-by-hop options come first or not at all") {
  Frame chain = concat({padding(IpProtocol::hop_by_hop), padding(IpProtocol::udp)});
  CHECK_FALSE(Packet::parse(ipv6_chain(IpProtocol::destination_options, chain)));
}

TEST_CASE("IPv6 jumbograms are refused") {
  Frame jumbo = extension(IpProtocol::udp, {0xc2, 4, 0, 1, 0, 0});
  CHECK_FALSE(Packet::parse(ipv6_chain(IpProtocol::hop_by_hop, jumbo)));
  Frame bytes = ipv6_chain(IpProtocol::hop_by_hop, jumbo);
  store_be16(&bytes[4], 0);
  CHECK_FALSE(Packet::parse(bytes));
}

TEST_CASE("IPv6 options are refused where malformed or where unknown ones must be") {
  // {type, length, ...} of 6 bytes behind next header and length.
  CHECK(Packet::parse(
      ipv6_chain(IpProtocol::hop_by_hop, extension(IpProtocol::udp, {5, 2, 0, 0, 0, 0}))));
  CHECK(Packet::parse(
      ipv6_chain(IpProtocol::hop_by_hop, extension(IpProtocol::udp, {0x3e, 4, 1, 2, 3, 4}))));
  for (std::uint8_t type : {0x5e, 0x9e, 0xde}) {
    CHECK_FALSE(Packet::parse(
        ipv6_chain(IpProtocol::hop_by_hop, extension(IpProtocol::udp, {type, 4, 0, 0, 0, 0}))));
  }
  CHECK_FALSE(Packet::parse(
      ipv6_chain(IpProtocol::hop_by_hop, extension(IpProtocol::udp, {5, 5, 0, 0, 0, 0}))));
  CHECK_FALSE(Packet::parse(
      ipv6_chain(IpProtocol::hop_by_hop, extension(IpProtocol::udp, {0, 0, 0, 0, 0, 5}))));
}

TEST_CASE("IPv6 routing headers of type 0 or with a way to go are refused") {
  auto routing = [](std::uint8_t type, std::uint8_t left) {
    return ipv6_chain(IpProtocol::routing, extension(IpProtocol::udp, {type, left, 0, 0, 0, 0}));
  };
  CHECK_FALSE(Packet::parse(routing(0, 0)));
  CHECK_FALSE(Packet::parse(routing(0, 1)));
  CHECK_FALSE(Packet::parse(routing(4, 1)));
  CHECK(Packet::parse(routing(4, 0)));
}

TEST_CASE("an IPv6 atomic fragment is a whole packet") {
  Frame chain = concat({fragment_header(IpProtocol::udp, 0, false), testing::pattern(12)});
  Frame bytes = ipv6_chain(IpProtocol::fragment, chain);
  auto packet = Packet::parse(bytes);
  REQUIRE(packet);
  CHECK_FALSE(packet->is_fragment());
  CHECK(packet->protocol() == IpProtocol::udp);
  CHECK(packet->payload().size() == 12);
}

TEST_CASE("an IPv6 fragment says where it belongs and what may be kept of it") {
  Frame chain = concat({padding(IpProtocol::fragment), fragment_header(IpProtocol::udp, 1232, true),
                        testing::pattern(16)});
  Frame bytes = ipv6_chain(IpProtocol::hop_by_hop, chain);
  auto packet = Packet::parse(bytes);
  REQUIRE(packet);
  REQUIRE(packet->is_fragment());
  CHECK(packet->fragment()->id == 0x01020304);
  CHECK(packet->fragment()->offset == 1232);
  CHECK(packet->fragment()->more);
  CHECK(packet->fragment()->unfragmentable_size == 48);
  CHECK(packet->fragment()->protocol_at == 40);
  CHECK(packet->payload().size() == 16);
}

TEST_CASE("two IPv6 fragment headers in a chain are refused") {
  Frame chain = concat({fragment_header(IpProtocol::fragment, 0, false),
                        fragment_header(IpProtocol::udp, 8, true), testing::pattern(8)});
  CHECK_FALSE(Packet::parse(ipv6_chain(IpProtocol::fragment, chain)));
}

TEST_CASE("a TTL of 0 or 1 and addresses of every kind are the caller's to judge") {
  Frame bytes = ip_packet(Family::v4, IpProtocol::udp, {});
  for (auto source : {IpAddress::v4(127, 0, 0, 1), IpAddress(), IpAddress::v4(224, 0, 0, 1),
                      IpAddress::v4(255, 255, 255, 255), IpAddress::v4(240, 0, 0, 1)}) {
    for (std::uint8_t ttl : {0, 1}) {
      store_be32(&bytes[12], source.v4_value());
      bytes[8] = ttl;
      auto packet = Packet::parse(bytes);
      REQUIRE(packet);
      CHECK(packet->source() == source);
      CHECK(packet->ttl() == ttl);
    }
  }
  auto mapped = IpAddress::parse("::ffff:127.0.0.1");
  Frame v6 = ip_packet(Family::v6, IpProtocol::udp, {});
  std::ranges::copy(mapped->bytes(), v6.begin() + 24);
  REQUIRE(Packet::parse(v6));
  CHECK(Packet::parse(v6)->destination() == *mapped);
}

TEST_CASE("an IP header is not written where it does not fit or can't be said") {
  Frame out(60);
  IpHeader ip;
  ip.source = testing::kV4Guest;
  ip.destination = testing::kV4Peer;
  ip.payload_size = 65515;
  CHECK(ip.emit(Bytes(out).first(19)) == 0);
  CHECK(ip.emit(out) == 20);
  ip.payload_size = 65516;
  CHECK(ip.emit(out) == 0);
  ip.destination = testing::kV6Peer;
  ip.payload_size = 0;
  CHECK(ip.emit(out) == 0);
  ip.source = testing::kV6Guest;
  ip.payload_size = 65535;
  CHECK(ip.emit(Bytes(out).first(39)) == 0);
  CHECK(ip.emit(out) == 40);
  ip.payload_size = 65536;
  CHECK(ip.emit(out) == 0);
}
