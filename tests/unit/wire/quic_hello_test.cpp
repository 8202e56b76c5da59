#include "wire/quic_hello.h"

#include <catch2/catch.hpp>

#include "quic_seal.h"

using namespace sluice;
using namespace sluice::testing;
using namespace std::chrono_literals;
using wire::QuicHelloAssembler;
using wire::QuicVersion;
using State = wire::QuicHelloAssembler::State;

namespace {

/// Padded as a client's datagrams are.
Message initial(const Message& payload, std::uint64_t number = 0) {
  InitialPacket packet;
  packet.payload = payload;
  packet.payload.resize(std::max<std::size_t>(packet.payload.size(), 1100));
  packet.number = number;
  return seal(packet);
}

/// The last state of datagrams that come at once, and the hello's name where it is complete.
std::string after(QuicHelloAssembler& assembler, const std::vector<Message>& datagrams) {
  QuicHelloAssembler::Datagram last;
  for (const auto& datagram : datagrams) last = assembler.add(datagram, TimePoint{});
  switch (last.state) {
    case State::not_quic:
      return "not quic";
    case State::other_version:
      return "other version";
    case State::no_initial:
      return "no initial";
    case State::need_more:
      return "need more";
    case State::complete:
      return assembler.hello(last.connection)->server_name->text();
    case State::judged:
      return "judged";
    case State::malformed:
      return "malformed";
    case State::too_large:
      return "too large";
  }
  return "?";
}

std::string after(const std::vector<Message>& datagrams) {
  QuicHelloAssembler assembler;
  return after(assembler, datagrams);
}

Message long_hello(std::string_view name) {
  return hello_message(name, extension(51, Message(1300, 0x5a)) + alpn({"h3"}));
}

}  // namespace

TEST_CASE("a hello in one Initial is complete, and judged once it is approved") {
  auto version = GENERATE(QuicVersion::v1, QuicVersion::v2);
  InitialPacket packet;
  packet.version = version;
  packet.payload = crypto_frame(0, hello_message("a.example", alpn({"h3"})));
  QuicHelloAssembler assembler;
  auto result = assembler.add(seal(packet), TimePoint{});
  CHECK(result.state == State::complete);
  CHECK(result.version == static_cast<std::uint32_t>(version));
  REQUIRE(assembler.hello(result.connection));
  CHECK(assembler.hello(result.connection)->server_name->text() == "a.example");
  CHECK(assembler.hello(result.connection)->alpn == std::vector<std::string>{"h3"});
  CHECK(after(assembler, {seal(packet)}) == "a.example");
  assembler.approve(result.connection);
  CHECK_FALSE(assembler.hello(result.connection));
  packet.number = 1;
  CHECK(after(assembler, {seal(packet)}) == "judged");
  packet.payload = {1};
  packet.number = 2;
  CHECK(after(assembler, {seal(packet)}) == "judged");
}

TEST_CASE("a hello in shuffled CRYPTO frames over two datagrams is put together") {
  Message hello = long_hello("shuffled.example");
  auto part = [&](std::size_t from, std::size_t to) { return crypto_part(hello, from, to); };
  std::size_t end = hello.size();
  Message first = initial(part(700, 900) + Message{1} + part(0, 30) + Message(3, 0) +
                          part(300, 500) + part(60, 300));
  Message second =
      initial(part(1000, end) + part(30, 45) + part(900, 1000) + part(45, 60) + part(500, 700), 1);
  CHECK(after({first}) == "need more");
  CHECK(after({first, second}) == "shuffled.example");
  CHECK(after({second, first}) == "shuffled.example");
  CHECK(after({first, first, second, second}) == "shuffled.example");
}

TEST_CASE("a hello split at any byte is complete only with both halves") {
  Message hello = hello_message("split.example");
  for (std::size_t cut = 1; cut < hello.size(); ++cut) {
    CAPTURE(cut);
    Message head = initial(crypto_part(hello, 0, cut));
    Message tail = initial(crypto_part(hello, cut, hello.size()), 1);
    CHECK(after({head}) == "need more");
    CHECK(after({tail}) == "need more");
    CHECK(after({tail, head}) == "split.example");
  }
}

TEST_CASE("a hello in frames of one byte, last first, is put together") {
  Message hello = hello_message("bytes.example");
  std::vector<Message> datagrams;
  for (std::size_t at = hello.size(); at-- > 0;) {
    datagrams.push_back(initial(crypto_part(hello, at, at + 1), datagrams.size()));
  }
  CHECK(after(datagrams) == "bytes.example");
}

TEST_CASE("Initials coalesced in a datagram are all read") {
  Message hello = hello_message("both.example");
  InitialPacket first;
  first.payload = crypto_part(hello, 50, hello.size());
  InitialPacket second = first;
  second.number = 1;
  second.payload = crypto_part(hello, 0, 50);
  Message both = seal(first) + seal(second);
  CHECK(after({both}) == "both.example");
  CHECK(after({both + Message(100, 0)}) == "both.example");
  CHECK(after({both + Message{0x41, 1, 2, 3}}) == "both.example");
  Message zero_rtt = Message{0xd0, 0, 0, 0, 1} + vector8(first.destination_id) + Message{0} +
                     varint(30) + Message(30, 1);
  CHECK(after({both + zero_rtt}) == "both.example");
  CHECK(after({zero_rtt + both}) == "both.example");
  Message tampered = seal(second);
  tampered.back() ^= 1;
  CHECK(after({seal(first) + tampered}) == "malformed");
  second.destination_id = {9, 9, 9, 9, 9, 9, 9, 9};
  CHECK(after({seal(first) + seal(second)}) == "malformed");
  Message many;
  for (std::uint64_t i = 0; i <= QuicHelloAssembler::kMaxInitials; ++i) {
    first.number = i;
    many = many + seal(first);
  }
  CHECK(after({many}) == "malformed");
}

TEST_CASE("what is no Initial of a known version is told apart") {
  CHECK(after({Message{}}) == "not quic");
  CHECK(after({Message{0x41, 1, 2, 3, 4, 5}}) == "not quic");
  CHECK(after({message_of("hello there")}) == "not quic");
  CHECK(after({Message{0x80, 9, 9, 9, 9, 9}}) == "not quic");
  CHECK(after({Message{0xc0, 0xff, 0, 0, 29, 0, 0}}) == "other version");
  Message handshake = Message{0xe0, 0, 0, 0, 1, 0, 0} + varint(20) + Message(20, 1);
  CHECK(after({handshake}) == "no initial");
  CHECK(after({handshake + handshake}) == "no initial");
  CHECK(after({Message{0xf0, 0, 0, 0, 1, 0, 0} + Message(20, 1)}) == "no initial");
  CHECK(after({handshake + Message{0xc0, 0xff, 0, 0, 29, 0, 0}}) == "other version");
  CHECK(after({Message{0xe0, 0, 0, 0, 1, 0, 0} + varint(21) + Message(20, 1)}) == "malformed");
}

TEST_CASE("a fixed bit of 0 hides no hello") {
  InitialPacket packet;
  packet.fixed_bit = false;
  packet.payload = crypto_frame(0, hello_message("a.example"));
  CHECK(after({seal(packet)}) == "a.example");
}

TEST_CASE("CRYPTO frames that contradict each other are malformed, also after the approval") {
  Message a = hello_message("a.example");
  Message b = hello_message("b.example");
  CHECK(after({initial(crypto_part(a, 0, a.size() - 1)),
               initial(crypto_part(b, 40, b.size()), 1)}) == "malformed");
  QuicHelloAssembler assembler;
  REQUIRE(after(assembler, {initial(crypto_frame(0, a))}) == "a.example");
  assembler.approve(1);
  CHECK(after(assembler, {initial(crypto_frame(0, b), 1)}) == "malformed");
  CHECK(after(assembler, {initial(crypto_frame(0, a), 2)}) == "malformed");
}

TEST_CASE("a hello that can't be read, or isn't one, is malformed") {
  CHECK(after({initial(crypto_frame(0, handshake(2, Message(50, 0))))}) == "malformed");
  CHECK(after({initial(crypto_frame(0, handshake(1, Message(50, 0))))}) == "malformed");
  CHECK(after({initial(crypto_frame(0, hello_message("1.2.3.4")))}) == "malformed");
  CHECK(after({initial(crypto_frame(0, hello_message("a.example") + Message{1}))}) == "malformed");
  CHECK(after({initial(Message{0x08, 0, 1})}) == "malformed");
  CHECK(after({initial(Message{0x02, 1})}) != "complete");
}

TEST_CASE("a hello over 16 KiB, or a frame far off, is too large") {
  CHECK(after({initial(crypto_frame(0, {1, 0, 0x40, 1}))}) == "too large");
  CHECK(after({initial(crypto_frame(20000, {1}))}) == "too large");
  CHECK(after({initial(crypto_frame((std::uint64_t{1} << 62) - 1, {1}))}) == "too large");
}

TEST_CASE("a second hello after the first is judged too") {
  Message a = hello_message("a.example");
  Message b = hello_message("b.example");
  QuicHelloAssembler assembler;
  REQUIRE(after(assembler, {initial(crypto_frame(0, a))}) == "a.example");
  assembler.approve(1);
  CHECK(after(assembler, {initial(crypto_frame(a.size() + 9, Message(b.begin() + 9, b.end())),
                                  1)}) == "need more");
  CHECK(after(assembler, {initial(crypto_frame(a.size(), b), 2)}) == "b.example");
  assembler.approve(1);
  CHECK(after(assembler, {initial({1}, 3)}) == "judged");
}

TEST_CASE("later Initials name the server by its own id and open with the first one's keys") {
  QuicHelloAssembler assembler;
  InitialPacket first;
  first.payload = crypto_frame(0, hello_message("a.example"));
  auto known = assembler.add(seal(first), TimePoint{});
  assembler.approve(known.connection);
  InitialPacket later;
  later.key_id = first.destination_id;
  later.number = 1;
  later.payload = {1};
  for (const Message& id : {Message{}, Message{7, 7}, Message(20, 5)}) {
    later.destination_id = id;
    auto result = assembler.add(seal(later), TimePoint{});
    CHECK(result.state == State::judged);
    CHECK(result.connection == known.connection);
    ++later.number;
  }
  later.version = QuicVersion::v2;
  CHECK(assembler.add(seal(later), TimePoint{}).state == State::judged);
  later.key_id = {4, 4, 4, 4};
  CHECK(assembler.add(seal(later), TimePoint{}).state == State::malformed);
}

TEST_CASE("after a Retry the hello comes again under new keys, and is judged again") {
  QuicHelloAssembler assembler;
  InitialPacket packet;
  packet.payload = crypto_frame(0, hello_message("a.example"));
  REQUIRE(after(assembler, {seal(packet)}) == "a.example");
  assembler.approve(1);
  packet.destination_id = {8, 8, 8, 8};
  packet.token = Message(100, 3);
  packet.number = 1;
  packet.payload = crypto_frame(0, hello_message("b.example"));
  auto retried = assembler.add(seal(packet), TimePoint{});
  CHECK(retried.state == State::complete);
  CHECK(retried.connection != 1);
  CHECK(assembler.hello(retried.connection)->server_name->text() == "b.example");
}

TEST_CASE("more connections than the limit are refused until the old ones are quiet") {
  QuicHelloAssembler assembler;
  InitialPacket packet;
  packet.payload = crypto_frame(0, hello_message("a.example"));
  auto add = [&](std::uint8_t id, Duration at) {
    packet.destination_id = Message(8, id);
    return assembler.add(seal(packet), TimePoint{} + at).state;
  };
  for (std::uint8_t i = 0; i < QuicHelloAssembler::kMaxConnections; ++i) {
    CHECK(add(i, 0s) == State::complete);
  }
  CHECK(add(100, 1s) == State::malformed);
  CHECK(add(1, 1s) == State::complete);
  CHECK(assembler.bytes() < 80 * 1024);
  CHECK(add(100, QuicHelloAssembler::kQuiet) == State::complete);
  CHECK(assembler.connections() == 2);
}
