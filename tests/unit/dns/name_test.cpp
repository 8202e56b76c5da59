#include <catch2/catch.hpp>

#include "dns_world.h"

using namespace sluice;
using namespace sluice::test;
using wire::DnsName;

namespace {

/// A message of 12 header bytes and `tail`.
Message with_header(std::vector<std::uint8_t> tail) {
  Message message(12);
  message.insert(message.end(), tail.begin(), tail.end());
  return message;
}

std::optional<DnsName::Read> read(const Message& message, std::size_t offset) {
  return DnsName::read(message, offset);
}

Message labels(std::size_t count, std::size_t label_bytes) {
  Message wire;
  for (std::size_t i = 0; i < count; ++i) {
    wire.push_back(static_cast<std::uint8_t>(label_bytes));
    wire.insert(wire.end(), label_bytes, 'a');
  }
  wire.push_back(0);
  return wire;
}

}  // namespace

TEST_CASE("a name is read label by label and says where it ends") {
  auto message = with_header({3, 'w', 'W', 'w', 2, 'd', 'e', 0, 99});
  auto name = read(message, 12);
  REQUIRE(name);
  CHECK(name->name.to_string() == "wWw.de");
  CHECK(name->end == 20);
  CHECK(name->name.domain() == domain("www.de"));
}

TEST_CASE("a pointer leads backwards, and the name ends after the first pointer") {
  auto message = with_header({2, 'd', 'e', 0, 1, 'a', 0xc0, 12, 1, 'b', 0xc0, 16});
  auto name = read(message, 20);
  REQUIRE(name);
  CHECK(name->name.to_string() == "b.a.de");
  CHECK(name->end == 24);
}

TEST_CASE(
    "a pointer to itself, forwards, into a loop, into the header or past the end is no name") {
  CHECK_FALSE(read(with_header({0xc0, 12}), 12));
  CHECK_FALSE(read(with_header({0xc0, 14, 0}), 12));
  CHECK_FALSE(read(with_header({1, 'a', 0xc0, 12}), 12));
  CHECK_FALSE(read(with_header({1, 'a', 0xc0, 16, 1, 'b', 0xc0, 12}), 16));
  CHECK_FALSE(read(with_header({0xc0, 4}), 12));
  CHECK_FALSE(read(with_header({0xff, 0xff}), 12));
  CHECK_FALSE(read(with_header({0xc0}), 12));
}

TEST_CASE("a chain of pointers to pointers is bounded") {
  Message tail{0};
  std::uint16_t previous = 12;
  for (int i = 0; i < 200; ++i) {
    auto here = static_cast<std::uint16_t>(12 + tail.size());
    tail.push_back(static_cast<std::uint8_t>(0xc0 | previous >> 8));
    tail.push_back(static_cast<std::uint8_t>(previous & 0xff));
    previous = here;
  }
  auto message = with_header(tail);
  CHECK(read(message, 12 + 1 + 2 * 100));
  CHECK_FALSE(read(message, 12 + 1 + 2 * 150));
}

TEST_CASE("labels above 63 bytes, names above 255 bytes and cut-off names are refused") {
  CHECK(read(labels(1, 63), 0));
  CHECK_FALSE(read(labels(1, 64), 0));
  CHECK_FALSE(read(labels(1, 0x80), 0));
  CHECK(read(labels(127, 1), 0));
  CHECK_FALSE(read(labels(128, 1), 0));
  auto cut = labels(3, 10);
  for (std::size_t size = 0; size < cut.size(); ++size) {
    CHECK_FALSE(DnsName::read(ConstBytes(cut).first(size), 0));
  }
  CHECK_FALSE(read(cut, cut.size() + 5));
}

TEST_CASE("bytes that no rule could match make no DomainName, and are escaped for people") {
  auto text_of = [](std::vector<std::uint8_t> label) {
    Message wire{static_cast<std::uint8_t>(label.size())};
    wire.insert(wire.end(), label.begin(), label.end());
    wire.push_back(0);
    auto name = read(wire, 0);
    REQUIRE(name);
    CHECK_FALSE(name->name.domain());
    return name->name.to_string();
  };
  CHECK(text_of({'a', '.', 'b'}) == "a\\.b");
  CHECK(text_of({'a', 0, 'b'}) == "a\\000b");
  CHECK(text_of({0x1b, '[', '\n'}) == "\\027[\\010");
  CHECK(text_of({'a', ' ', '\\', 0xff}) == "a\\032\\\\\\255");
}

TEST_CASE("names are compared without regard to case, zones by whole labels") {
  auto upper = read(Message{3, 'W', 'W', 'W', 2, 'D', 'E', 0}, 0)->name;
  CHECK(upper.same_as(wire_name("www.de")));
  CHECK_FALSE(upper == wire_name("www.de"));
  CHECK(upper.lowered() == wire_name("www.de"));
  CHECK(upper.is_in(wire_name("de")));
  CHECK(upper.is_in(DnsName()));
  CHECK(upper.is_in(wire_name("www.de")));
  CHECK_FALSE(wire_name("xde").is_in(wire_name("de")));
  CHECK_FALSE(wire_name("de").is_in(wire_name("www.de")));
}

TEST_CASE("a name survives the way through the wire form") {
  auto text = GENERATE("", "a", "example.com", "_dns._udp.example.com", "xn--bcher-kva.example");
  CHECK(wire_name(text).domain() == domain(text));
}
