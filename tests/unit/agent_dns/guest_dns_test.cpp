#include "agent/dns/guest_dns.h"

#include <catch2/catch.hpp>

#include "agent_dns/guest_dns_world.h"

namespace sluice::agent {

using test::endpoint;
using test::Seen;
using wire::DnsRcode;
using wire::DnsType;
using namespace std::chrono_literals;
using Strings = std::vector<std::string>;

TEST_CASE("a name that is known is answered in the turn in which it is asked") {
  GuestDnsWorld world;
  world.dns.forwarder().set_servers({endpoint("10.0.2.1:53")});
  REQUIRE(world.dns.registry().add(registration("c1", {"db"}, {"10.88.0.2"})));
  for (int i = 0; i < 100; ++i) world.send(fmt::format("dead{}.example", i));
  Seen seen = world.ask("db");
  CHECK(seen.answers == Strings{"db 1 10.88.0.2"});
  CHECK(seen.ttls == std::vector<std::uint32_t>{5});
  CHECK(seen.header.authoritative);
  CHECK(world.dns.forwarder().waiting() == 100);
}

TEST_CASE("a network's members see its names and no others") {
  GuestDnsWorld world;
  world.dns.set_network({"red", {*IpPrefix::parse("10.1.0.0/24")}, {endpoint("10.1.0.1:53")}});
  world.dns.set_network({"blue", {*IpPrefix::parse("10.2.0.0/24")}, {endpoint("10.2.0.1:53")}});
  auto& registry = world.dns.registry();
  REQUIRE(registry.add(registration("r", {"r"}, {"10.1.0.2"}, NamedBy::itself, "red")));
  REQUIRE(registry.add(registration("b", {"b"}, {"10.2.0.2"}, NamedBy::itself, "blue")));
  auto sees = [&](const char* name, const char* source) {
    return world.ask(std::string(name) + ".guest.internal", DnsType::a, {.source = source}).rcode;
  };
  CHECK(sees("r", "10.1.0.2:9") == DnsRcode::no_error);
  CHECK(sees("b", "10.1.0.2:9") == DnsRcode::name_error);
  // One whose names nobody registered sees what its network has.
  CHECK(sees("b", "10.2.0.77:9") == DnsRcode::no_error);
  CHECK(sees("r", "10.2.0.77:9") == DnsRcode::name_error);
  // The VM, from an address of its own in a network.
  CHECK(sees("b", "10.1.0.1:9") == DnsRcode::no_error);
  CHECK(sees("b", "127.0.0.1:9") == DnsRcode::no_error);

  // An address of a network that has no name is known not to have one.
  CHECK(world.ask("9.0.1.10.in-addr.arpa", DnsType::ptr).rcode == DnsRcode::name_error);
  world.dns.remove_network("red");
  world.send("9.0.1.10.in-addr.arpa", DnsType::ptr);
  CHECK(world.replies().empty());
}

TEST_CASE("a network's address is listened on as long as the network is there") {
  GuestDnsWorld world;
  auto open = [&] { return world.net.open_datagrams(); };
  auto before = open();
  DnsNetwork red{"red", {}, {endpoint("10.1.0.1:53"), endpoint("[fd00::1]:53")}};
  world.dns.set_network(red);
  CHECK(open() == before + 2);
  world.dns.set_network(red);
  CHECK(open() == before + 2);
  red.addresses.pop_back();
  world.dns.set_network(red);
  CHECK(open() == before + 1);
  world.dns.remove_network("red");
  CHECK(open() == before);
}

TEST_CASE("types of a local name that it has not are empty, and ANY is refused; none goes out") {
  GuestDnsWorld world;
  world.dns.forwarder().set_servers({endpoint("10.0.2.1:53")});
  REQUIRE(world.dns.registry().add(registration("c1", {"db"}, {"10.88.0.2"})));
  for (auto type : {DnsType::aaaa, DnsType::https, DnsType::svcb, DnsType::mx, DnsType::txt,
                    DnsType::soa, DnsType::ns, DnsType::cname, static_cast<DnsType>(65280)}) {
    for (const char* name : {"db", "db.guest.internal"}) {
      Seen seen = world.ask(name, type);
      CHECK(seen.rcode == DnsRcode::no_error);
      CHECK(seen.answers.empty());
      CHECK(seen.soa_ttl == 5u);
    }
  }
  CHECK(world.ask("db", DnsType::any).rcode == DnsRcode::refused);
  CHECK(world.ask("none.guest.internal", DnsType::any).rcode == DnsRcode::name_error);
  CHECK(world.outside().empty());
}

TEST_CASE("an answer longer than its client takes is cut, and says so") {
  GuestDnsWorld world;
  for (int i = 0; i < 100; ++i) {
    REQUIRE(world.dns.registry().add(
        registration(fmt::format("c{}", i), {"many"}, {fmt::format("10.88.0.{}", i + 1)})));
  }
  Seen seen = world.ask("many");
  CHECK(seen.header.truncated);
  CHECK(seen.bytes <= 512);
  CHECK(world.ask("many", DnsType::a, {.edns_bytes = 4096}).answers.size() == 100);
}

TEST_CASE("a query that nobody can read goes out as it is, if it is of no local name") {
  GuestDnsWorld world;
  world.dns.forwarder().set_servers({endpoint("10.0.2.1:53")});
  auto odd = test::make_query("x.example", DnsType::a);
  odd[11] = 1;  // An additional record that is not there.
  auto& listener = *world.net.datagrams.front();
  listener.feed(endpoint("127.0.0.1:9"), test::to_text(odd));
  world.loop.run_ready();
  REQUIRE(world.outside().size() == 1);
  CHECK(world.outside()[0]->sent[0].data.substr(2) == test::to_text(odd).substr(2));

  auto local = test::make_query("x.guest.internal", DnsType::a);
  local[11] = 1;
  listener.feed(endpoint("127.0.0.1:9"), test::to_text(local));
  world.loop.run_ready();
  CHECK(world.outside().size() == 1);
  auto replies = world.replies();
  REQUIRE(replies.size() == 1);
  CHECK(replies[0].rcode == DnsRcode::format_error);
}

TEST_CASE("what is no query is left alone") {
  GuestDnsWorld world;
  auto& listener = *world.net.datagrams.front();
  auto reply = test::make_query("x.example", DnsType::a);
  reply[2] |= 0x80;
  for (const std::string& junk : {std::string(), std::string(11, 'x'), test::to_text(reply)}) {
    listener.feed(endpoint("127.0.0.1:9"), junk);
  }
  world.loop.run_ready();
  CHECK(listener.sent.empty());
  CHECK(world.dns.counters().ignored == 3);
}

}  // namespace sluice::agent
