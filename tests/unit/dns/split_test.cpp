#include <catch2/catch.hpp>

#include "dns_world.h"

using namespace sluice;
using namespace sluice::test;
using dns::Transport;
using wire::DnsMessage;
using wire::DnsRcode;
using wire::DnsType;
using Answers = std::vector<std::string>;

namespace {

/// One general resolver, one for corp.example and one for the lab in it.
struct SplitWorld : DnsWorld {
  SplitWorld() {
    add_upstream("192.0.2.1:53", resolver_with("198.51.100.1"));
    add_resolver("10.0.0.53:53", resolver_with("10.0.0.5"));
    add_resolver("10.9.0.53:5353", resolver_with("10.9.0.5"));
    service->set_split(split());
  }
  static std::vector<DnsSplit> split() {
    return {{domain("corp.example"), {endpoint("10.0.0.53:53")}},
            {domain("lab.corp.example"), {endpoint("10.9.0.53:5353")}}};
  }
};

}  // namespace

TEST_CASE("a name is asked at the resolvers of the longest zone that it is in") {
  SplitWorld world;
  struct Row {
    const char* name;
    const char* address;
  };
  auto row = GENERATE(Row{"corp.example", "10.0.0.5"}, Row{"a.b.CORP.example", "10.0.0.5"},
                      Row{"lab.corp.example", "10.9.0.5"}, Row{"x.lab.corp.example", "10.9.0.5"},
                      Row{"xlab.corp.example", "10.0.0.5"}, Row{"xcorp.example", "198.51.100.1"},
                      Row{"example", "198.51.100.1"});
  CHECK(world.ask(row.name, DnsType::a).answers ==
        Answers{fmt::format("{} 1 {}", row.name, row.address)});
}

TEST_CASE("a zone with resolvers of its own is never asked elsewhere when they fail") {
  SplitWorld world;
  auto resolver = GENERATE(0, 1);
  world.add_resolver("10.0.0.53:53", resolver == 0 ? silent_resolver()
                                                   : failing_resolver(DnsRcode::server_failure));
  int general = 0;
  world.add_upstream("192.0.2.1:53", [&](const DnsMessage&, Transport) {
    ++general;
    return std::nullopt;
  });
  CHECK(world.ask("a.corp.example", DnsType::a, {}, 5s).rcode == DnsRcode::server_failure);
  CHECK(general == 0);
}

TEST_CASE("one zone's dead resolver costs no other zone") {
  SplitWorld world;
  world.add_resolver("10.0.0.53:53", silent_resolver());
  for (const char* name : {"a.corp.example", "b.corp.example", "c.corp.example"}) {
    world.send(name, DnsType::a);
  }
  world.loop.advance(5s);
  auto now = world.loop.now();
  CHECK_FALSE(world.service->upstreams().is_avoided(endpoint("192.0.2.1:53"), now));
  CHECK(world.ask("www.example", DnsType::a).answers.size() == 1);
}

TEST_CASE("changed zones are in force at once, and drop what the former resolvers said") {
  SplitWorld world;
  world.ask("a.corp.example", DnsType::a);
  world.service->set_split(SplitWorld::split());
  CHECK(world.service->cache().entries() == 1);
  world.service->set_split({});
  CHECK(world.service->cache().entries() == 0);
  CHECK(world.ask("a.corp.example", DnsType::a).answers ==
        Answers{"a.corp.example 1 198.51.100.1"});
}

TEST_CASE("a question that is open when its zone goes is still answered") {
  SplitWorld world;
  world.add_resolver("10.0.0.53:53", silent_resolver());
  world.send("a.corp.example", DnsType::a);
  world.service->set_split({});
  world.loop.advance(5s);
  CHECK(world.replies.size() == 1);
}
