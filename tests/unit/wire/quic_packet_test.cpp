#include "wire/quic_packet.h"

#include <catch2/catch.hpp>

#include "quic_seal.h"

using namespace sluice;
using namespace sluice::testing;
using wire::QuicFront;
using wire::QuicInitialKeys;
using wire::QuicLongPacket;
using wire::QuicVersion;

namespace {

Message from_hex(std::string_view text) {
  auto digit = [](char c) { return c <= '9' ? c - '0' : c - 'a' + 10; };
  Message bytes;
  for (std::size_t i = 0; i + 1 < text.size(); i += 2) {
    bytes.push_back(static_cast<std::uint8_t>(digit(text[i]) << 4 | digit(text[i + 1])));
  }
  return bytes;
}

bool begins_with(const Message& bytes, const Message& front) {
  return bytes.size() >= front.size() && std::equal(front.begin(), front.end(), bytes.begin());
}

Message bytes_of(ConstBytes bytes) {
  return {bytes.begin(), bytes.end()};
}

// RFC 9001 appendix A.2, which RFC 9369 appendix A.2 seals too.
const Message kClientId = from_hex("8394c8f03e515708");
const Message kHelloFrame = from_hex(
    "060040f1010000ed0303ebf8fa56f12939b9584a3896472ec40bb863cfd3e86804fe3a47f06a2b69484c00000413"
    "011302010000c000000010000e00000b6578616d706c652e636f6dff01000100000a00080006001d0017001800"
    "100007000504616c706e000500050100000000003300260024001d00209370b2c9caa47fbabaf4559fedba753de1"
    "71fa71f50f1ce15d43e994ec74d748002b0003020304000d0010000e0403050306030203080408050806002d0002"
    "0101001c00024001003900320408ffffffffffffffff05048000ffff07048000ffff080110010480007530090110"
    "0f088394c8f03e51570806048000ffff");

InitialPacket rfc_packet(QuicVersion version) {
  InitialPacket packet;
  packet.version = version;
  packet.destination_id = kClientId;
  packet.number = 2;
  packet.number_bytes = 4;
  packet.payload = kHelloFrame;
  packet.payload.resize(1162);
  return packet;
}

std::optional<wire::QuicOpened> opened(const Message& bytes, QuicVersion version,
                                       std::optional<std::uint64_t> largest = {}) {
  auto front = wire::read_quic_front(bytes);
  if (front.kind != QuicFront::Kind::packet) return std::nullopt;
  auto keys = QuicInitialKeys::of_client(version, front.packet.destination_id);
  return wire::open_quic_initial(front.packet, *keys, largest);
}

}  // namespace

TEST_CASE("the client's keys are those of RFC 9001 and RFC 9369") {
  auto v1 = QuicInitialKeys::of_client(QuicVersion::v1, kClientId);
  REQUIRE(v1);
  CHECK(bytes_of(v1->key) == from_hex("1f369613dd76d5467730efcbe3b1a22d"));
  CHECK(bytes_of(v1->iv) == from_hex("fa044b2f42a3fd3b46fb255c"));
  CHECK(bytes_of(v1->header) == from_hex("9f50449e04a0e810283a1e9933adedd2"));
  auto mask = v1->header_mask(from_hex("d1b1c98dd7689fb8ec11d242b123dc9b"));
  REQUIRE(mask);
  CHECK(bytes_of(*mask) == from_hex("437b9aec36"));
  auto v2 = QuicInitialKeys::of_client(QuicVersion::v2, kClientId);
  REQUIRE(v2);
  CHECK(bytes_of(v2->key) == from_hex("8b1a0bc121284290a29e0971b5cd045d"));
  CHECK(bytes_of(v2->iv) == from_hex("91f73e2351d8fa91660e909f"));
  CHECK(bytes_of(v2->header) == from_hex("45b95e15235d6f45a6b19cbcb0294ba9"));
}

TEST_CASE("the sample packets of RFC 9001 and RFC 9369 open") {
  Message v1 = seal(rfc_packet(QuicVersion::v1));
  REQUIRE(v1.size() == 1200);
  CHECK(begins_with(v1, from_hex("c000000001088394c8f03e5157080000449e7b9aec34"
                                 "d1b1c98dd7689fb8ec11d242b123dc9b"
                                 "d8bab936b47d92ec356c0bab7df5976d")));
  CHECK(bytes_of(ConstBytes(v1).last(16)) == from_hex("e221af44860018ab0856972e194cd934"));
  Message v2 = seal(rfc_packet(QuicVersion::v2));
  CHECK(begins_with(v2, from_hex("d76b3343cf088394c8f03e5157080000449ea0c95e82"
                                 "ffe67b6abcdb4298b485dd04de806071")));
  for (auto version : {QuicVersion::v1, QuicVersion::v2}) {
    auto packet = opened(version == QuicVersion::v1 ? v1 : v2, version);
    REQUIRE(packet);
    CHECK(packet->number == 2);
    CHECK(begins_with(packet->payload, kHelloFrame));
  }
}

TEST_CASE("a packet with any bit changed does not open") {
  InitialPacket packet;
  packet.payload = crypto_frame(0, Message(20, 1));
  packet.token = {1, 2, 3};
  packet.source_id = {9, 9};
  Message sealed = seal(packet);
  REQUIRE(opened(sealed, QuicVersion::v1));
  for (std::size_t bit = 0; bit < sealed.size() * 8; ++bit) {
    CAPTURE(bit);
    Message changed = sealed;
    changed[bit / 8] ^= static_cast<std::uint8_t>(1u << bit % 8);
    CHECK_FALSE(opened(changed, QuicVersion::v1));
  }
}

TEST_CASE("packet numbers are completed from the largest before them") {
  InitialPacket packet;
  packet.payload = Message(20, 1);
  for (auto [number, bytes, largest] :
       std::vector<std::tuple<std::uint64_t, unsigned, std::uint64_t>>{
           {0xa82f9b32, 2, 0xa82f30ea},
           {256, 1, 255},
           {272, 1, 200},
           {300, 1, 310},
           {(std::uint64_t{1} << 32) + 5, 4, (std::uint64_t{1} << 32) - 1}}) {
    CAPTURE(number);
    packet.number = number;
    packet.number_bytes = bytes;
    auto result = opened(seal(packet), QuicVersion::v1, largest);
    REQUIRE(result);
    CHECK(result->number == number);
    CHECK_FALSE(opened(seal(packet), QuicVersion::v1));
  }
}

TEST_CASE("reserved bits that are set make a packet unreadable") {
  InitialPacket packet;
  packet.payload = Message(20, 1);
  packet.reserved_bits = GENERATE(std::uint8_t{1}, std::uint8_t{2});
  CHECK_FALSE(opened(seal(packet), QuicVersion::v1));
}

TEST_CASE("the front of a datagram tells packets of either version from other bytes") {
  using Kind = QuicFront::Kind;
  using Type = QuicLongPacket::Type;
  auto kind = [](const Message& bytes) { return wire::read_quic_front(bytes).kind; };
  CHECK(kind({}) == Kind::not_long);
  CHECK(kind({0x40, 0, 0, 0, 1}) == Kind::not_long);
  CHECK(kind({0xc0, 0, 0, 0}) == Kind::not_long);
  CHECK(kind({0x80, 0x12, 0x34, 0x56, 0x78}) == Kind::not_long);
  CHECK(kind({0xc0, 0xff, 0, 0, 29}) == Kind::other_version);
  CHECK(kind({0xc0, 0, 0, 0, 0}) == Kind::other_version);
  CHECK(wire::read_quic_front(Message{0xc0, 0xff, 0, 0, 29}).version == 0xff00001d);

  Message v1{0xc0, 0, 0, 0, 1};
  Message rest =
      vector8({1, 2}) + vector8({3}) + varint(1) + Message{7} + varint(2) + Message{8, 8};
  Message whole = v1 + rest + Message{9};
  auto initial = wire::read_quic_front(whole);
  REQUIRE(initial.kind == Kind::packet);
  CHECK(initial.packet.type == Type::initial);
  CHECK(bytes_of(initial.packet.destination_id) == Message{1, 2});
  CHECK(bytes_of(initial.packet.source_id) == Message{3});
  CHECK(initial.packet.bytes.size() == v1.size() + rest.size());
  for (std::size_t size = v1.size(); size < v1.size() + rest.size(); ++size) {
    Message cut = v1 + rest;
    cut.resize(size);
    CHECK(kind(cut) == Kind::malformed);
  }
  CHECK(kind(v1 + vector8(Message(21, 1)) + Message{0, 0, 0}) == Kind::malformed);
  CHECK(kind(v1 + Message{0} + vector8(Message(21, 1)) + Message{0, 0}) == Kind::malformed);
  CHECK(kind(v1 + Message{0, 0, 0} + varint((std::uint64_t{1} << 62) - 1)) == Kind::malformed);

  auto type = [](std::uint8_t first, const Message& version) {
    return wire::read_quic_front(Message{first} + version + Message{0, 0, 0, 0}).packet.type;
  };
  Message one{0, 0, 0, 1};
  Message two{0x6b, 0x33, 0x43, 0xcf};
  CHECK(type(0xc0, one) == Type::initial);
  CHECK(type(0xd0, one) == Type::zero_rtt);
  CHECK(type(0xe0, one) == Type::handshake);
  CHECK(type(0xf0, one) == Type::retry);
  CHECK(type(0xd0, two) == Type::initial);
  CHECK(type(0xe0, two) == Type::zero_rtt);
  CHECK(type(0xf0, two) == Type::handshake);
  CHECK(type(0xc0, two) == Type::retry);
}

TEST_CASE("the frames that an Initial can have are read, others are refused") {
  auto count = [](const Message& payload) {
    auto frames = wire::read_quic_initial_frames(payload);
    return frames ? static_cast<int>(frames->size()) : -1;
  };
  Message crypto = crypto_frame(5, {1, 2, 3});
  Message ack =
      Message{0x02} + varint(9) + varint(0) + varint(1) + varint(0) + varint(1) + varint(2);
  Message ecn = Message{0x03} + varint(9) + varint(0) + varint(0) + varint(0) + varint(1) +
                varint(2) + varint(3);
  Message close = Message{0x1c} + varint(7) + varint(6) + varint(2) + Message{'o', 'k'};
  CHECK(count(Message(40, 0)) == 0);
  CHECK(count({1, 1}) == 0);
  CHECK(count(Message{0, 0, 1} + ack + crypto + Message{0} + ecn + crypto + close) == 2);
  CHECK(count(crypto_frame(0, {})) == 1);
  CHECK(count({}) == -1);
  for (std::uint8_t type : {4, 5, 7, 8, 0x0e, 0x1d, 0x1e, 0x40, 0xff}) {
    CHECK(count(crypto + Message{type} + Message(20, 0)) == -1);
  }
  CHECK(count(Message{0x40, 0x06, 0, 1, 1}) == -1);
  CHECK(count(Message{0x02} + varint(9) + varint(0) + varint(std::uint64_t{1} << 61)) == -1);
  for (const Message& frame : {crypto, ack, ecn, close}) {
    for (std::size_t size = 1; size < frame.size(); ++size) {
      CHECK(count(Message(frame.begin(), frame.begin() + static_cast<std::ptrdiff_t>(size))) == -1);
    }
  }
}
