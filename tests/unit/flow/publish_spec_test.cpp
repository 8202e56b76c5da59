#include <net/publish.h>

#include <catch2/catch.hpp>
#include <string>

namespace {

using Catch::Matchers::Contains;
using sluice::Family;
using sluice::IpAddress;
using sluice::parse_publish;
using sluice::parse_reverse;
using sluice::Port;
using sluice::Protocol;
using sluice::PublishSpec;

PublishSpec parsed(const std::string& text) {
  auto spec = parse_publish(text);
  INFO(text << ": " << spec.status().message());
  REQUIRE(spec);
  return *spec;
}

std::string error_of(const std::string& text) {
  auto spec = parse_publish(text);
  INFO(text);
  REQUIRE_FALSE(spec);
  CHECK(spec.status().code() == sluice::StatusCode::invalid_argument);
  CHECK_THAT(spec.status().message(), Contains("the form is"));
  return spec.status().message();
}

}  // namespace

TEST_CASE("two ports publish a TCP port of the guest on the host's loopback") {
  PublishSpec spec = parsed("8080:80");
  CHECK(spec.protocol == Protocol::tcp);
  CHECK(spec.bind == IpAddress::loopback(Family::v4));
  CHECK(spec.host_first == Port(8080));
  CHECK(spec.host_last == Port(8080));
  CHECK(spec.guest_first == Port(80));
  CHECK_FALSE(spec.guest_address);
  CHECK(spec.unix_path.empty());
  CHECK(spec.source == sluice::SourceMode::client);
}

TEST_CASE("a published port may name the address that it is bound to") {
  CHECK(parsed("0.0.0.0:8080:80").bind == IpAddress::any(Family::v4));
  CHECK(parsed("[::]:8080:80").bind == IpAddress::any(Family::v6));
  CHECK(parsed("[2001:db8::1]:8080:80").bind == *IpAddress::parse("2001:db8::1"));
}

TEST_CASE("a published port may name a container's address in the guest") {
  CHECK(parsed("8080:10.88.0.2:80").guest_address == IpAddress::v4(10, 88, 0, 2));
  CHECK(parsed("8080:[fd00::2]:80").guest_address == *IpAddress::parse("fd00::2"));
  PublishSpec spec = parsed("[::1]:8080-8081:[fd00::2]:80-81/udp");
  CHECK(spec.bind == IpAddress::loopback(Family::v6));
  CHECK(spec.guest_address == *IpAddress::parse("fd00::2"));
  CHECK(spec.host_last == Port(8081));
  CHECK(spec.protocol == Protocol::udp);
}

TEST_CASE("a suffix says the protocol of a published port") {
  CHECK(parsed("53:53/udp").protocol == Protocol::udp);
  CHECK(parsed("53:53/tcp").protocol == Protocol::tcp);
  CHECK_THAT(error_of("53:53/sctp"), Contains("'sctp' is neither tcp nor udp"));
  CHECK_THAT(error_of("53:53/"), Contains("'' is neither tcp nor udp"));
  CHECK_THAT(error_of("53:53/UDP"), Contains("'UDP'"));
}

TEST_CASE("ranges of host and guest ports are one to one") {
  PublishSpec spec = parsed("8000-8010:9000-9010");
  CHECK(spec.host_first == Port(8000));
  CHECK(spec.host_last == Port(8010));
  CHECK(spec.guest_first == Port(9000));
  CHECK(parsed("1-65535:1-65535").host_last == Port(65535));
  CHECK(parsed("80-80:80").host_last == Port(80));
  CHECK_THAT(error_of("8000-8010:9000-9009"), Contains("differ in length"));
  CHECK_THAT(error_of("8000-8010:9000"), Contains("differ in length"));
  CHECK_THAT(error_of("8010-8000:9000-9010"), Contains("'8010-8000' is no host port"));
  CHECK_THAT(error_of("8000-8010:9010-9000"), Contains("'9010-9000' is no guest port"));
}

TEST_CASE("host port 0 lets the kernel choose, and no range begins with it") {
  CHECK(parsed("0:80").host_first == Port(0));
  CHECK_THAT(error_of("0-2:80-82"), Contains("can't begin with port 0"));
  CHECK_THAT(error_of("80:0"), Contains("'0' is no guest port"));
}

TEST_CASE("ports end at 65535") {
  CHECK(parsed("65535:65535").guest_first == Port(65535));
  CHECK_THAT(error_of("65536:80"), Contains("'65536' is no host port"));
  CHECK_THAT(error_of("80:65536"), Contains("'65536' is no guest port"));
  CHECK_THAT(error_of("80:99999999999999999999"), Contains("is no guest port"));
}

TEST_CASE("the error names the part of a published port that can't be read") {
  CHECK_THAT(error_of(""), Contains("a guest port is missing"));
  CHECK_THAT(error_of("80"), Contains("a guest port is missing"));
  CHECK_THAT(error_of("127.0.0.1:80"), Contains("a guest port is missing"));
  CHECK_THAT(error_of("http:80"), Contains("'http' is no host port"));
  CHECK_THAT(error_of("80:http"), Contains("'http' is no guest port"));
  CHECK_THAT(error_of("80:"), Contains("'' is no guest port"));
  CHECK_THAT(error_of(":80"), Contains("'' is no host port"));
  CHECK_THAT(error_of("-80:80"), Contains("'-80' is no host port"));
  CHECK_THAT(error_of("80-:80"), Contains("'80-' is no host port"));
  CHECK_THAT(error_of(" 80:80"), Contains("' 80' is no host port"));
  CHECK_THAT(error_of("80:80 "), Contains("'80 ' is no guest port"));
  CHECK_THAT(error_of("1.2.3:80:80"), Contains("'1.2.3' is no host port"));
  CHECK_THAT(error_of("80:1.2.3.256:80"), Contains("'1.2.3.256:80' is no guest port"));
  CHECK_THAT(error_of("localhost:80:80"), Contains("'localhost' is no host port"));
}

TEST_CASE("IPv6 addresses of published ports stand in brackets, and only they") {
  CHECK_THAT(error_of("::1:80:80"), Contains("IPv6 in brackets"));
  CHECK_THAT(error_of("[127.0.0.1]:80:80"), Contains("is no host port"));
  CHECK_THAT(error_of("[::1:80:80"), Contains("is no host port"));
  CHECK_THAT(error_of("[::1]80:80"), Contains("is no host port"));
  CHECK_THAT(error_of("80:[::1]80"), Contains("is no guest port"));
}

TEST_CASE("a port may be published on a Unix socket") {
  PublishSpec spec = parsed("unix:/run/web.sock:80");
  CHECK(spec.unix_path == "/run/web.sock");
  CHECK(spec.guest_first == Port(80));
  CHECK(spec.protocol == Protocol::tcp);
  CHECK(parsed("unix:/run/a:b.sock:80").unix_path == "/run/a:b.sock");
}

TEST_CASE("a Unix path is absolute and fits a socket address") {
  std::string longest = "/" + std::string(106, 'x');
  CHECK(parsed("unix:" + longest + ":80").unix_path == longest);
  CHECK_THAT(error_of("unix:" + longest + "x:80"), Contains("at most 107 bytes"));
  CHECK_THAT(error_of("unix:web.sock:80"), Contains("must be absolute"));
  CHECK_THAT(error_of("unix:/:80"), Contains("must be absolute"));
  CHECK_THAT(error_of("unix::80"), Contains("must be absolute"));
  CHECK_THAT(error_of("unix:80"), Contains("must be absolute"));
  CHECK_THAT(error_of("unix:/run/web.sock"), Contains("ends in no guest port"));
  CHECK_THAT(error_of("unix:/run/web.sock:0"), Contains("ends in no guest port"));
  CHECK_THAT(error_of("unix:/run/web.sock:65536"), Contains("ends in no guest port"));
  CHECK_THAT(error_of("unix:/run/web.sock:80/udp"), Contains("ends in no guest port"));
  CHECK_THAT(error_of("unix:"), Contains("ends in no guest port"));
  CHECK_FALSE(parse_publish(std::string("unix:/run/\0x:80", 15)));
}

TEST_CASE("what a published port is written as reads back the same") {
  for (const char* text :
       {"8080:80", "0:80", "0.0.0.0:8080:80", "[::]:8080:80/udp", "8080:10.88.0.2:80",
        "8000-8010:9000-9010", "[::1]:8000-8010:[fd00::2]:9000-9010/udp", "unix:/run/a:b:80",
        "1-65535:1-65535/udp"}) {
    PublishSpec spec = parsed(text);
    CHECK(parsed(to_string(spec)) == spec);
    CHECK(to_string(parsed(to_string(spec))) == to_string(spec));
  }
  CHECK(to_string(parsed("8080:80")) == "127.0.0.1:8080:80/tcp");
  CHECK(to_string(parsed("[::1]:1-2:[fd00::2]:3-4/udp")) == "[::1]:1-2:[fd00::2]:3-4/udp");
}

TEST_CASE("a reverse port leads from the gateway to a Unix socket of the host's") {
  auto spec = parse_reverse("2222:unix:/run/agent.sock");
  REQUIRE(spec);
  CHECK(spec->guest_port == Port(2222));
  CHECK(spec->unix_path == "/run/agent.sock");
  CHECK(parse_reverse("1:unix:/a:unix:/b")->unix_path == "/a:unix:/b");
  CHECK(parse_reverse("65535:unix:/" + std::string(106, 'x')));
}

TEST_CASE("the error of a reverse port shows it and the form") {
  for (const std::string& text :
       {std::string("2222"), std::string("2222:/run/a"), std::string("0:unix:/run/a"),
        std::string("65536:unix:/run/a"), std::string("x:unix:/run/a"), std::string(":unix:/run/a"),
        std::string("2222:unix:run/a"), std::string("2222:unix:/"), std::string("2222:unix:"),
        std::string(), "1:unix:/" + std::string(107, 'x')}) {
    auto spec = parse_reverse(text);
    INFO(text);
    REQUIRE_FALSE(spec);
    CHECK(spec.status().code() == sluice::StatusCode::invalid_argument);
    CHECK_THAT(spec.status().message(), Contains("'" + text + "'"));
    CHECK_THAT(spec.status().message(), Contains("GPORT:unix:PATH"));
  }
}
