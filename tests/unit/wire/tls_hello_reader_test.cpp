#include "wire/tls_hello_reader.h"

#include <catch2/catch.hpp>

#include "wire/every_cut.h"
#include "wire/hello_builder.h"

using namespace sluice;
using namespace sluice::testing;
using wire::TlsHelloReader;
using State = wire::TlsHelloReader::State;

namespace {

Outcome<TlsHelloReader> outcome_of(const Message& stream) {
  return outcome_of_every_cut<TlsHelloReader>(stream);
}

Outcome<TlsHelloReader> run(const Message& stream, std::size_t step = SIZE_MAX) {
  return run_in_steps<TlsHelloReader>(stream, step);
}

State state_after(const Message& stream) {
  return outcome_of(stream).state;
}

/// A second hello as it comes after HelloRetryRequest.
Message second_hello(std::string_view name) {
  return record(22, hello_message(name, extension(44, {1, 2})), 0x0303);
}
Message change_cipher_spec() {
  return record(20, {1}, 0x0303);
}

}  // namespace

TEST_CASE("a hello in one record is complete with its last byte, wherever segments end") {
  Message stream = record(22, hello_message("a.example"));
  auto outcome = outcome_of(stream);
  CHECK(outcome.names == std::vector<std::string>{"a.example"});
  CHECK(outcome.state == State::following);
  CHECK(outcome.released == stream.size());
}

TEST_CASE("nothing is released and nothing taken before a complete hello is approved") {
  Message stream = record(22, hello_message("a.example"));
  TlsHelloReader reader;
  Message more = stream + record(23, {1, 2, 3});
  CHECK(reader.feed(more) == stream.size());
  CHECK(reader.state() == State::complete);
  CHECK(reader.released() == 0);
  CHECK(reader.feed(more) == 0);
  reader.approve();
  CHECK(reader.released() == stream.size());
}

TEST_CASE("a hello is put together from records of any size") {
  Message hello = hello_message("split.example");
  for (std::size_t size = 1; size <= hello.size(); ++size) {
    CAPTURE(size);
    Message stream = records(hello, size);
    auto outcome = run(stream);
    CHECK(outcome.names == std::vector<std::string>{"split.example"});
    CHECK(outcome.released == stream.size());
    CHECK(run(stream, 1) == outcome);
  }
}

TEST_CASE("other protocols are told from TLS by their first bytes") {
  auto text =
      GENERATE(as<std::string>(), "G", "SSH-2.0-OpenSSH\r\n", std::string(1, '\0'), "\x13\x03\x01",
               "\x19\x03\x01", "EHLO",
               // Lengths of 0x0116 and 0x0115 in little-endian order, as MongoDB has them.
               std::string("\x16\x01\0\0\x07\0\0\0", 8), std::string("\x15\x01\0\0\x07\0\0\0", 8),
               std::string("\x17\x01", 2), "\x16\x16", "\x15\x20", "\x80\x05\x02", "\xff\xfe\x02");
  CAPTURE(text);
  auto outcome = outcome_of(message_of(text));
  CHECK(outcome.state == State::not_tls);
  CHECK(outcome.names.empty());
}

TEST_CASE("TLS that doesn't begin with a hello, or not as every server reads it, is malformed") {
  Message hello = hello_message("a.example");
  auto stream = GENERATE_COPY(
      record(21, {1, 0}), record(21, {1, 0}, 0x0001) + record(22, hello), record(20, {1}),
      record(23, {1}), record(24, {1}), record(22, {}), record(22, {2, 0, 0, 38}),
      record(22, handshake(0, {})), record(22, hello, 0x0201), record(22, hello, 0x0001),
      record(22, hello, 0x0fff), record(22, handshake(1, {})),
      record(22, {1, 0, 0}) + record(22, {}), record(22, {1, 0}) + record(21, {1, 0}),
      record(22, {1, 0}) + record(20, {1}), record(22, {1, 0}) + record(23, {1}),
      record(22, {1, 0}) + record(22, {0}, 0x0203), record(22, hello + Message{0}),
      record(22, hello + hello), Message{22, 3, 1, 0x40, 1}, Message{22, 3, 1, 0xff, 0xff},
      record(22, handshake(1, hello_body(server_name("127.0.0.1")))));
  CAPTURE(stream);
  auto outcome = outcome_of(stream);
  CHECK(outcome.state == State::malformed);
  CHECK(outcome.released == 0);
  CHECK_FALSE(outcome.reason.empty());
}

TEST_CASE("a hello in the format of SSL 2, which can't name its server, is malformed") {
  CHECK(state_after({0x80, 0x2e, 0x01, 0x03, 0x01}) == State::malformed);
  CHECK(state_after({0x80, 0x2e, 0x01, 0x00, 0x02}) == State::malformed);
  CHECK(state_after({0x80, 0x2e, 0x01, 0x00, 0x00}) == State::not_tls);
}

TEST_CASE("a hello of 16 KiB is read, a longer one is too large at once") {
  Message room = extension(21, {});
  std::size_t rest = hello_body(server_name("a.example") + tls13() + room).size();
  auto of_size = [&](std::size_t size) {
    return handshake(
        1, hello_body(server_name("a.example") + tls13() + extension(21, Message(size - rest))));
  };
  auto outcome = run(records(of_size(wire::kMaxClientHelloBytes), 16384));
  CHECK(outcome.names == std::vector<std::string>{"a.example"});
  CHECK(run(records(of_size(wire::kMaxClientHelloBytes + 1), 16384)).state == State::too_large);
  CHECK(state_after(record(22, {1, 0, 0x40, 1})) == State::too_large);
  CHECK(state_after(record(22, {1, 0xff, 0xff, 0xff})) == State::too_large);
}

TEST_CASE("a second hello is held and judged like the first") {
  Message first = record(22, hello_message("a.example"));
  auto between = GENERATE(Message{}, change_cipher_spec(), record(21, {1, 0}, 0x0303));
  Message stream = first + between + second_hello("b.example");
  auto outcome = outcome_of(stream);
  CHECK(outcome.names == std::vector<std::string>{"a.example", "b.example"});
  CHECK(outcome.released == stream.size());

  TlsHelloReader reader;
  reader.feed(first);
  reader.approve();
  ConstBytes rest = ConstBytes(stream).subspan(first.size());
  for (const std::uint8_t& byte : rest) reader.feed({&byte, 1});
  CHECK(reader.state() == State::complete);
  CHECK(reader.released() == first.size() + between.size());
}

TEST_CASE("a second hello is put together from records of any size too") {
  Message hello = hello_message("b.example");
  for (std::size_t size = 1; size <= hello.size(); ++size) {
    CAPTURE(size);
    Message stream =
        record(22, hello_message("a.example")) + change_cipher_spec() + records(hello, size);
    CHECK(run(stream).names == std::vector<std::string>{"a.example", "b.example"});
    CHECK(run(stream, 1) == run(stream));
  }
}

TEST_CASE("another record inside a second hello is refused, and no part of that hello released") {
  Message first = record(22, hello_message("a.example", extension(42, {})));
  Message second = hello_message("b.example");
  for (std::size_t cut = 1; cut < second.size(); ++cut) {
    CAPTURE(cut);
    auto middle = second.begin() + static_cast<std::ptrdiff_t>(cut);
    Message stream = first + record(22, Message(second.begin(), middle)) + record(23, {1}) +
                     record(22, Message(middle, second.end()));
    auto outcome = run(stream);
    CHECK(outcome.state == State::malformed);
    CHECK(outcome.released == first.size());
    CHECK(run(stream, 1) == outcome);
  }
}

TEST_CASE("a second hello behind refused early data is found") {
  Message stream = record(22, hello_message("a.example", extension(42, {}))) +
                   change_cipher_spec() + record(23, Message(100, 1), 0x0303) +
                   record(23, Message(100, 1), 0x0303) + second_hello("b.example");
  CHECK(outcome_of(stream).names == std::vector<std::string>{"a.example", "b.example"});
}

TEST_CASE("a second hello that can't be read is refused") {
  Message first = record(22, hello_message("a.example")) + change_cipher_spec();
  auto bad =
      GENERATE(record(22, handshake(1, hello_body(server_name("127.0.0.1")))),
               record(22, {1}) + record(23, {1}), record(22, {}), record(22, {1}) + record(22, {}),
               record(22, hello_message("b.example") + Message{0}));
  auto outcome = outcome_of(first + bad);
  CHECK(outcome.state == State::malformed);
  CHECK(outcome.released == first.size());
  CHECK(state_after(first + record(22, {1, 1, 0, 0, 3, 3})) == State::too_large);
}

TEST_CASE("what follows a hello that can have no second passes unread") {
  Message tls12 = record(22, handshake(1, hello_body(server_name("a.example"))));
  CHECK(outcome_of(tls12).state == State::opaque);
  Message first = record(22, hello_message("a.example"));
  auto rest = GENERATE(
      change_cipher_spec() + record(23, Message(60, 7), 0x0303) + record(22, {1, 2}),
      record(22, handshake(16, Message(33, 4)), 0x0303) + change_cipher_spec(),
      record(22, handshake(11, {}), 0x0303), record(23, {}, 0x0303),
      // Finished of a TLS 1.2 session that goes on, behind a nonce that begins like a hello.
      change_cipher_spec() + record(22, Message(40, 0), 0x0303),
      change_cipher_spec() + record(22, Message(40, 1), 0x0303),
      change_cipher_spec() + record(22, Message{1, 0, 0, 60, 9} + Message(35, 5), 0x0303));
  Message stream = first + rest + Message(50, 0xee);
  auto outcome = outcome_of(stream);
  CHECK(outcome.state == State::opaque);
  CHECK(outcome.released == stream.size());
}

TEST_CASE("bytes that aren't TLS after the hello are refused") {
  Message first = record(22, hello_message("a.example"));
  auto bad =
      GENERATE(message_of("GET / HTTP/1.1\r\n"), Message{19, 3, 3, 0, 1}, Message{23, 2, 3, 0, 1},
               Message{23, 3, 3, 0xff, 0xff}, record(22, {1, 0, 0, 3, 0}));
  auto outcome = outcome_of(first + bad);
  CHECK(outcome.state == State::malformed);
  CHECK(outcome.released == first.size());
}
