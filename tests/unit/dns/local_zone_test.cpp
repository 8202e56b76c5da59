#include <catch2/catch.hpp>

#include "dns_world.h"

using namespace sluice;
using namespace sluice::test;
using wire::DnsRcode;
using wire::DnsType;
using Answers = std::vector<std::string>;

namespace {

IpAddress address(std::string_view text) {
  return *IpAddress::parse(text);
}

/// As core sets it up.
struct LocalWorld : DnsWorld {
  LocalWorld() {
    add_upstream("192.0.2.1:53", resolver_with("198.51.100.1"));
    auto& zone = service->local_zone();
    zone.set_addresses(domain("gateway.vm.internal"), {address("10.0.0.1"), address("fd00::1")});
    zone.set_addresses(domain("host.vm.internal"), {address("10.0.0.3")});
    zone.set_addresses(domain("web.team.vm.internal"), {address("10.0.0.4"), address("10.0.0.5")});
    zone.set_addresses(domain("host.docker.internal"), {address("10.0.0.3")});
    zone.own_reverse(*IpPrefix::parse("10.0.0.0/24"));
  }
};

}  // namespace

TEST_CASE("local names give their addresses by type, with authority, and never leave") {
  LocalWorld world;
  auto gateway = world.ask("Gateway.vm.internal", DnsType::a);
  CHECK(gateway.answers == Answers{"Gateway.vm.internal 1 10.0.0.1"});
  CHECK(gateway.header.authoritative);
  CHECK(world.ask("gateway.vm.internal", DnsType::aaaa).answers ==
        Answers{"gateway.vm.internal 28 fd00::1"});
  CHECK(world.ask("web.team.vm.internal", DnsType::a).answers.size() == 2);
  CHECK(world.ask("host.docker.internal", DnsType::a).answers ==
        Answers{"host.docker.internal 1 10.0.0.3"});
  CHECK(world.asked.empty());
}

TEST_CASE("a local name without the asked type is an empty answer with the zone's SOA") {
  LocalWorld world;
  struct Row {
    const char* name;
    DnsType type;
    const char* zone;
  };
  auto row = GENERATE(Row{"host.vm.internal", DnsType::aaaa, "vm.internal"},
                      Row{"host.vm.internal", DnsType::txt, "vm.internal"},
                      Row{"vm.internal", DnsType::a, "vm.internal"},
                      Row{"team.vm.internal", DnsType::a, "vm.internal"},
                      Row{"host.docker.internal", DnsType::aaaa, "host.docker.internal"});
  auto seen = world.ask(row.name, row.type);
  CHECK(seen.rcode == DnsRcode::no_error);
  CHECK(seen.answers.empty());
  CHECK(seen.soa_owner == row.zone);
  CHECK(seen.header.authoritative);
  CHECK(world.asked.empty());
}

TEST_CASE("an unknown local name is NXDOMAIN with the zone's SOA and never leaves") {
  LocalWorld world;
  auto name = GENERATE("nobody.vm.internal", "a.b.c.vm.internal", "x.host.vm.internal",
                       "x.host.docker.internal");
  auto seen = world.ask(name, DnsType::a);
  CHECK(seen.rcode == DnsRcode::name_error);
  CHECK(seen.soa_owner);
  CHECK(world.asked.empty());
}

TEST_CASE("names that only look like the zone's are not local") {
  LocalWorld world;
  auto name = GENERATE("xvm.internal", "vm.internal.example", "docker.internal", "internal");
  world.ask(name, DnsType::a);
  CHECK(world.asked == Answers{name});
}

TEST_CASE("the zone's SOA can be asked for") {
  LocalWorld world;
  auto seen = world.ask("vm.internal", DnsType::soa);
  CHECK(seen.answers.size() == 1);
  CHECK_FALSE(seen.soa_owner);
}

TEST_CASE("addresses of local names have reverse names, the name set first") {
  LocalWorld world;
  CHECK(world.ask("1.0.0.10.in-addr.arpa", DnsType::ptr).answers ==
        Answers{"1.0.0.10.in-addr.arpa 12 gateway.vm.internal"});
  CHECK(world.ask("3.0.0.10.in-addr.arpa", DnsType::ptr).answers ==
        Answers{"3.0.0.10.in-addr.arpa 12 host.vm.internal"});
  auto v6 = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa";
  CHECK(world.ask(v6, DnsType::ptr).answers ==
        Answers{std::string(v6) + " 12 gateway.vm.internal"});
  CHECK(world.asked.empty());
}

TEST_CASE("unknown addresses of the guest's own network are NXDOMAIN, others are forwarded") {
  LocalWorld world;
  CHECK(world.ask("77.0.0.10.in-addr.arpa", DnsType::ptr).rcode == DnsRcode::name_error);
  CHECK(world.asked.empty());
  world.ask("1.100.51.198.in-addr.arpa", DnsType::ptr);
  CHECK(world.asked.size() == 1);
}

TEST_CASE("a name that is set again has the new addresses only, and none removes it") {
  LocalWorld world;
  auto& zone = world.service->local_zone();
  zone.set_addresses(domain("web.team.vm.internal"), {address("10.0.0.6")});
  CHECK(world.ask("web.team.vm.internal", DnsType::a).answers ==
        Answers{"web.team.vm.internal 1 10.0.0.6"});
  CHECK(world.ask("4.0.0.10.in-addr.arpa", DnsType::ptr).rcode == DnsRcode::name_error);
  zone.set_addresses(domain("web.team.vm.internal"), {});
  CHECK(world.ask("web.team.vm.internal", DnsType::a).rcode == DnsRcode::name_error);
  CHECK(world.ask("team.vm.internal", DnsType::a).rcode == DnsRcode::name_error);
  zone.set_addresses(domain("web.team.vm.internal"), {});
}

TEST_CASE("reverse names stand for whole addresses written the usual way") {
  CHECK(dns::reverse_address(domain("4.3.2.1.in-addr.arpa")) == address("1.2.3.4"));
  for (const char* name : {"3.2.1.in-addr.arpa", "5.4.3.2.1.in-addr.arpa", "256.3.2.1.in-addr.arpa",
                           "04.3.2.1.in-addr.arpa", "a.3.2.1.in-addr.arpa", "in-addr.arpa",
                           "1.ip6.arpa", "4.3.2.1.example"}) {
    CHECK_FALSE(dns::reverse_address(domain(name)));
  }
}
