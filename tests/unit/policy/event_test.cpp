#include <net/verdict.h>
#include <catch2/catch.hpp>

namespace sluice {
namespace {

DenialEvent tcp_event() {
  DenialEvent event;
  event.source = Endpoint{IpAddress::v4(192, 168, 127, 2), Port(4000)};
  event.destination = Endpoint{IpAddress::v4(1, 2, 3, 4), Port(80)};
  event.names = {"example.com"};
  event.rule = "default deny";
  event.reason = "no rule allows it";
  return event;
}

TEST_CASE("a denied connection reads as one line with names, rule and reason") {
  CHECK(tcp_event().to_string() ==
        "denied tcp 192.168.127.2:4000 -> 1.2.3.4:80 (example.com): default deny: "
        "no rule allows it");
}

TEST_CASE("a denied lookup says who asked for what") {
  DenialEvent event = tcp_event();
  event.layer = Layer::dns;
  event.rule = "rule \"deny@*.example.com\" (--rule)";
  CHECK(event.to_string() ==
        "denied lookup of example.com by 192.168.127.2: rule \"deny@*.example.com\" (--rule): "
        "no rule allows it");
}

TEST_CASE("a denied ping shows no ports, and how many like it are not shown") {
  DenialEvent event = tcp_event();
  event.layer = Layer::icmp;
  event.protocol = Protocol::icmp;
  event.names.clear();
  event.suppressed = 3;
  CHECK(event.to_string() ==
        "denied icmp 192.168.127.2 -> 1.2.3.4: default deny: no rule allows it "
        "(and 3 like it, not shown)");
}

TEST_CASE("a name from the wire can't forge a second log line") {
  DenialEvent event = tcp_event();
  event.names = {"evil\ndenied tcp \x1b[2K"};
  std::string line = event.to_string();
  CHECK(line.find('\n') == std::string::npos);
  CHECK(line.find('\x1b') == std::string::npos);
  CHECK(line.find("evil\\x0a") != std::string::npos);
}

TEST_CASE("a long list of names is cut in an event's line") {
  DenialEvent event = tcp_event();
  event.names = {"a.com", "b.com", "c.com", "d.com", "e.com", "f.com"};
  CHECK(event.to_string().find("(a.com, b.com, c.com, d.com and 2 more)") != std::string::npos);
}

}  // namespace
}  // namespace sluice
