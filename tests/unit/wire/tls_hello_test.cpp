#include "wire/tls_hello.h"

#include <catch2/catch.hpp>

#include "wire/hello_builder.h"

using namespace sluice;
using namespace sluice::testing;
using wire::ClientHello;
using wire::parse_client_hello;

namespace {

std::string name_in(const Message& body) {
  auto hello = parse_client_hello(body);
  if (!hello) return "malformed";
  return hello->server_name ? hello->server_name->text() : "none";
}

std::string name_said_as(std::string_view raw) {
  return name_in(hello_body(server_name(raw)));
}

}  // namespace

TEST_CASE("a hello's server name, versions and protocols are read") {
  auto hello = parse_client_hello(
      hello_body(extension(0x0a0a, {}) + server_name("www.example.com") + tls13() +
                 alpn({"h2", "http/1.1"}) + extension(51, Message(40, 7))));
  REQUIRE(hello);
  CHECK(hello->has_server_name);
  CHECK(hello->server_name->text() == "www.example.com");
  CHECK(hello->legacy_version == 0x0303);
  CHECK(hello->supported_versions == std::vector<std::uint16_t>{0x0304, 0x0303});
  CHECK(hello->alpn == std::vector<std::string>{"h2", "http/1.1"});
  CHECK_FALSE(hello->has_ech);
  CHECK_FALSE(hello->has_early_data);
}

TEST_CASE("a server name is read in lower case and without its trailing dot") {
  CHECK(name_said_as("WWW.Example.COM") == "www.example.com");
  CHECK(name_said_as("example.com.") == "example.com");
  CHECK(name_said_as("xn--bcher-kva.example") == "xn--bcher-kva.example");
  CHECK(name_said_as("_dmarc.1.example") == "_dmarc.1.example");
  CHECK(name_said_as("localhost") == "localhost");
}

TEST_CASE("a server name that a server might read otherwise makes the hello malformed") {
  auto raw =
      GENERATE(as<std::string>(), "", ".", "example.com..", ".example.com", "a..b",
               std::string("example.com\0", 12), std::string("a\0.example.com", 14), "example.com ",
               " example.com", "example.com\n", "exa mple.com", "*.example",
               "b\xc3\xbc"
               "cher.example",
               "example.com:443", "https://example.com", "192.0.2.1", "192.0.2.1.", "127.1",
               "2130706433", "0x7f.1", "0x7f000001", "1.2.3.0x4", "example.0x", "2001:db8::1",
               "[2001:db8::1]", "::ffff:1.2.3.4", "example.com/", "example.com%00");
  CAPTURE(raw);
  CHECK(name_said_as(raw) == "malformed");
}

TEST_CASE("a name of 253 characters is read, a longer one isn't") {
  std::string label(49, 'a');
  std::string name = label + "." + label + "." + label + "." + label + "." + label + ".exa";
  REQUIRE(name.size() == 253);
  CHECK(name_said_as(name) == name);
  CHECK(name_said_as("b" + name) == "malformed");
  CHECK(name_said_as(std::string(64, 'a') + ".example") == "malformed");
}

TEST_CASE("a hello without a server name is read as such") {
  CHECK(name_in(hello_start()) == "none");
  CHECK(name_in(hello_body({})) == "none");
  CHECK(name_in(hello_body(tls13())) == "none");
  CHECK_FALSE(parse_client_hello(hello_start())->has_server_name);
}

TEST_CASE("a server_name extension that isn't one host name makes the hello malformed") {
  Message host = Message{0} + vector16(message_of("a.example"));
  Message other = Message{1} + vector16(message_of("b.example"));
  auto data = GENERATE_COPY(Message{}, vector16({}), vector16(host + host), vector16(host + other),
                            vector16(other), vector16(other + host), vector16(host + Message{0}),
                            vector16(host) + Message{0}, host, be16(host.size() + 1) + host,
                            be16(host.size() - 1) + host, vector16({0}), vector16({0, 0}),
                            vector16({0, 0, 0}), vector16({0, 0xff, 0xff, 'a'}));
  CAPTURE(data);
  CHECK(name_in(hello_body(extension(0, data))) == "malformed");
  CHECK(name_in(hello_body(tls13() + extension(0, data) + alpn({"h2"}))) == "malformed");
}

TEST_CASE("an extension that comes twice makes the hello malformed") {
  CHECK(name_in(hello_body(server_name("a.example") + server_name("b.example"))) == "malformed");
  CHECK(name_in(hello_body(server_name("a.example") + tls13() + server_name("a.example"))) ==
        "malformed");
  CHECK(name_in(hello_body(extension(0xffff, {1}) + extension(0xffff, {2}))) == "malformed");
}

TEST_CASE("what could hide another name is seen") {
  auto type = GENERATE(std::uint16_t{0xfe0d}, std::uint16_t{0xffce});
  auto hello = parse_client_hello(
      hello_body(server_name("public.example") + extension(type, Message(10, 0))));
  REQUIRE(hello);
  CHECK(hello->has_ech);
  CHECK(hello->server_name->text() == "public.example");
}

TEST_CASE("early data are seen") {
  CHECK(parse_client_hello(hello_body(extension(42, {})))->has_early_data);
}

TEST_CASE("lists whose lengths don't add up make the hello malformed") {
  auto bad =
      GENERATE(extension(16, {}), extension(16, vector16({})), extension(16, vector16({0})),
               extension(16, vector16({2, 'h'})), extension(16, vector16({1, 'h'}) + Message{0}),
               extension(16, vector16({1, 'h', 0})), extension(43, {}), extension(43, vector8({})),
               extension(43, vector8({3})), extension(43, vector8({3, 4, 3})),
               extension(43, {2, 3}), extension(43, vector8({3, 4}) + Message{0}), Message{0},
               Message{0, 5, 0}, be16(5) + be16(1), be16(5) + be16(2) + Message{0});
  CAPTURE(bad);
  CHECK(name_in(hello_body(bad)) == "malformed");
  CHECK(name_in(hello_body(server_name("a.example") + bad)) == "malformed");
}

TEST_CASE("more ALPN protocols than the limit make the hello malformed") {
  Message list;
  for (std::size_t i = 0; i < ClientHello::kMaxAlpn; ++i) list = list + vector8({'a'});
  CHECK(parse_client_hello(hello_body(extension(16, vector16(list)))));
  list = list + vector8({'a'});
  CHECK_FALSE(parse_client_hello(hello_body(extension(16, vector16(list)))));
}

TEST_CASE("a hello that is cut off anywhere, or followed by anything, is malformed") {
  Message body = hello_body(server_name("a.example") + tls13() + alpn({"h2"}));
  REQUIRE(name_in(body) == "a.example");
  for (std::size_t size = 0; size < body.size(); ++size) {
    CAPTURE(size);
    Message cut(body.begin(), body.begin() + static_cast<std::ptrdiff_t>(size));
    // One cut leaves a hello of TLS 1.2, which may end before its extensions.
    CHECK(name_in(cut) == (size == hello_start().size() ? "none" : "malformed"));
  }
  CHECK(name_in(body + Message{0}) == "malformed");
  CHECK(name_in(hello_start() + Message{0}) == "malformed");
}

TEST_CASE("the fixed part of a hello must be as the RFC has it") {
  Message random(32, 1);
  Message extensions = vector16(server_name("a.example"));
  Message ciphers = vector16({0x13, 0x01});
  auto hello = [&](std::uint16_t version, std::size_t session, const Message& suites,
                   const Message& compressions) {
    return name_in(be16(version) + random + vector8(Message(session, 2)) + suites +
                   vector8(compressions) + extensions);
  };
  CHECK(hello(0x0301, 0, ciphers, {0}) == "a.example");
  CHECK(hello(0x0303, 32, ciphers, {1, 0}) == "a.example");
  CHECK(hello(0x0002, 32, ciphers, {0}) == "malformed");
  CHECK(hello(0x0403, 32, ciphers, {0}) == "malformed");
  CHECK(hello(0x0303, 33, ciphers, {0}) == "malformed");
  CHECK(hello(0x0303, 32, vector16({}), {0}) == "malformed");
  CHECK(hello(0x0303, 32, vector16({0x13}), {0}) == "malformed");
  CHECK(hello(0x0303, 32, ciphers, {}) == "malformed");
}
