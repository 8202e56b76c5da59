#include "wire/icmp.h"

#include <catch2/catch.hpp>
#include <vector>

#include "wire/packets.h"
#include "wire/udp.h"

using namespace sluice;
using namespace sluice::wire;
using sluice::testing::Frame;

namespace {

IpAddress guest(Family family) {
  return family == Family::v4 ? testing::kV4Guest : testing::kV6Guest;
}
IpAddress peer(Family family) {
  return family == Family::v4 ? testing::kV4Peer : testing::kV6Peer;
}
IpProtocol icmp(Family family) {
  return family == Family::v4 ? IpProtocol::icmp : IpProtocol::icmpv6;
}

Frame udp_packet(Family family, std::size_t payload) {
  Frame bytes(payload + 48);
  bytes.resize(emit_udp(bytes, {guest(family), Port(7)}, {peer(family), Port(9)},
                        testing::pattern(payload)));
  return bytes;
}

Frame error_about(Family family, ConstBytes original, IcmpError error, std::uint32_t value = 0) {
  Frame out(1500);
  out.resize(emit_icmp_error(out, peer(family), guest(family), original, error, value));
  return out;
}

}  // namespace

TEST_CASE("an ICMP message of fewer than 8 bytes is refused") {
  Frame bytes(8);
  for (std::size_t size = 0; size < 8; ++size) {
    CHECK_FALSE(IcmpView::parse(Family::v4, ConstBytes(bytes).first(size)));
    CHECK_FALSE(IcmpView::parse(Family::v6, ConstBytes(bytes).first(size)));
  }
  CHECK(IcmpView::parse(Family::v4, bytes));
}

TEST_CASE("an echo reads back as written in both families") {
  for (Family family : {Family::v4, Family::v6}) {
    for (EchoKind kind : {EchoKind::request, EchoKind::reply}) {
      Frame data = testing::pattern(57);
      IcmpEcho echo{kind, 0x1234, 77, data};
      Frame bytes(echo.size());
      CHECK(echo.emit(Bytes(bytes).first(echo.size() - 1), guest(family), peer(family)) == 0);
      REQUIRE(echo.emit(bytes, guest(family), peer(family)) == 65);
      auto view = IcmpView::parse(family, bytes);
      CHECK(view->is_echo_request() == (kind == EchoKind::request));
      CHECK(view->is_echo_reply() == (kind == EchoKind::reply));
      CHECK_FALSE(view->is_error());
      CHECK(view->identifier() == 0x1234);
      CHECK(view->sequence() == 77);
      CHECK(view->checksum_ok(guest(family), peer(family)));
      bytes[40] ^= 0x10;
      CHECK_FALSE(view->checksum_ok(guest(family), peer(family)));
    }
  }
}

TEST_CASE("an echo request of one family is none of the other") {
  Frame bytes(8);
  bytes[0] = 8;
  CHECK_FALSE(IcmpView::parse(Family::v6, bytes)->is_echo_request());
  bytes[0] = 128;
  CHECK_FALSE(IcmpView::parse(Family::v4, bytes)->is_echo_request());
}

TEST_CASE("every error has its type and code in both families and reads back") {
  struct Case {
    IcmpError error;
    int v4_type, v4_code, v6_type, v6_code;
  };
  const Case cases[] = {
      {IcmpError::net_unreachable, 3, 0, 1, 0},      {IcmpError::host_unreachable, 3, 1, 1, 3},
      {IcmpError::protocol_unreachable, 3, 2, 4, 1}, {IcmpError::port_unreachable, 3, 3, 1, 4},
      {IcmpError::packet_too_big, 3, 4, 2, 0},       {IcmpError::admin_prohibited, 3, 13, 1, 1},
      {IcmpError::ttl_exceeded, 11, 0, 3, 0},        {IcmpError::reassembly_timeout, 11, 1, 3, 1},
      {IcmpError::parameter_problem, 12, 0, 4, 0}};
  for (const Case& c : cases) {
    for (Family family : {Family::v4, Family::v6}) {
      Frame bytes = error_about(family, udp_packet(family, 20), c.error, 40);
      auto packet = Packet::parse(bytes);
      REQUIRE(packet);
      CHECK(packet->protocol() == icmp(family));
      CHECK(packet->destination() == guest(family));
      auto view = IcmpView::parse(family, packet->payload());
      CHECK(view->type() == (family == Family::v4 ? c.v4_type : c.v6_type));
      CHECK(view->code() == (family == Family::v4 ? c.v4_code : c.v6_code));
      CHECK(view->error() == c.error);
      CHECK(view->is_error());
      CHECK(view->checksum_ok(packet->source(), packet->destination()));
      bool has_value =
          c.error == IcmpError::packet_too_big || c.error == IcmpError::parameter_problem;
      if (has_value) CHECK(view->error_value() == 40);
    }
  }
}

TEST_CASE("an error quotes the packet up to the family's limit") {
  for (Family family : {Family::v4, Family::v6}) {
    std::size_t limit = family == Family::v4 ? 576 : 1280;
    Frame original = udp_packet(family, 2000);
    Frame bytes = error_about(family, original, IcmpError::port_unreachable);
    CHECK(bytes.size() == limit);
    auto quoted = IcmpView::parse(family, Packet::parse(bytes)->payload())->payload();
    CHECK(std::equal(quoted.begin(), quoted.end(), original.begin()));

    Frame small = udp_packet(family, 3);
    CHECK(error_about(family, small, IcmpError::port_unreachable).size() ==
          (family == Family::v4 ? 28 : 48) + small.size());
  }
}

TEST_CASE("an error is not written where there is no room or no common family") {
  Frame original = udp_packet(Family::v4, 0), out(56);
  CHECK(emit_icmp_error(Bytes(out).first(55), testing::kV4Peer, testing::kV4Guest, original,
                        IcmpError::port_unreachable) == 0);
  CHECK(emit_icmp_error(out, testing::kV4Peer, testing::kV4Guest, original,
                        IcmpError::port_unreachable) == 56);
  CHECK(emit_icmp_error(out, testing::kV4Peer, testing::kV6Guest, original,
                        IcmpError::port_unreachable) == 0);
}

TEST_CASE("what an error quotes names the flow, however short it is cut") {
  for (Family family : {Family::v4, Family::v6}) {
    Frame original = udp_packet(family, 100);
    std::size_t header = family == Family::v4 ? 20 : 40;
    for (std::size_t size = 0; size < header + 8; ++size) {
      CHECK_FALSE(parse_quoted(family, ConstBytes(original).first(size)));
    }
    auto quoted = parse_quoted(family, ConstBytes(original).first(header + 8));
    REQUIRE(quoted);
    CHECK(quoted->source == guest(family));
    CHECK(quoted->destination == peer(family));
    CHECK(quoted->protocol == IpProtocol::udp);
    CHECK(load_be16(quoted->transport.data()) == 7);
    CHECK_FALSE(parse_quoted(family == Family::v4 ? Family::v6 : Family::v4, original));
  }
}

TEST_CASE("a quoted IPv4 header that lies about its length is refused") {
  Frame original = udp_packet(Family::v4, 100);
  original[0] = 0x44;
  CHECK_FALSE(parse_quoted(Family::v4, original));
  original[0] = 0x4f;
  CHECK_FALSE(parse_quoted(Family::v4, ConstBytes(original).first(60)));
}

TEST_CASE("errors are sent about ordinary packets and echo requests") {
  for (Family family : {Family::v4, Family::v6}) {
    CHECK(may_answer_with_error(*Packet::parse(udp_packet(family, 1))));
    IcmpEcho echo{EchoKind::request, 1, 1, {}};
    Frame message(8);
    echo.emit(message, guest(family), peer(family));
    Frame bytes = testing::ip_packet(family, icmp(family), message);
    CHECK(may_answer_with_error(*Packet::parse(bytes)));
  }
}

TEST_CASE("no error is sent about an error, a later fragment or a packet to many") {
  for (Family family : {Family::v4, Family::v6}) {
    Frame error = error_about(family, udp_packet(family, 1), IcmpError::port_unreachable);
    CHECK_FALSE(may_answer_with_error(*Packet::parse(error)));
  }
  Frame bytes = udp_packet(Family::v4, 8);
  store_be16(&bytes[6], 185);
  CHECK_FALSE(may_answer_with_error(*Packet::parse(bytes)));
  for (auto address : {IpAddress(), IpAddress::v4(224, 0, 0, 251), IpAddress::v4(0xffffffff)}) {
    bytes = udp_packet(Family::v4, 8);
    store_be32(&bytes[16], address.v4_value());
    CHECK_FALSE(may_answer_with_error(*Packet::parse(bytes)));
    bytes = udp_packet(Family::v4, 8);
    store_be32(&bytes[12], address.v4_value());
    CHECK_FALSE(may_answer_with_error(*Packet::parse(bytes)));
  }
  bytes = udp_packet(Family::v6, 8);
  bytes[24] = 0xff;
  CHECK_FALSE(may_answer_with_error(*Packet::parse(bytes)));
}
