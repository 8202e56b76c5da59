#include <catch2/catch.hpp>

#include "dns_world.h"

using namespace sluice;
using namespace sluice::test;
using dns::Transport;
using wire::DnsMessage;
using wire::DnsRcode;
using wire::DnsType;

TEST_CASE("an answer is kept for its TTL, which the client sees run down") {
  DnsWorld world;
  world.add_upstream("192.0.2.1:53", resolver_with("198.51.100.1"));
  CHECK(world.ask("a.example", DnsType::a).ttls == std::vector<std::uint32_t>{300});
  world.loop.advance(100s);
  CHECK(world.ask("A.Example", DnsType::a).ttls == std::vector<std::uint32_t>{200});
  world.loop.advance(200s - 1ms);
  CHECK(world.ask("a.example", DnsType::a).ttls == std::vector<std::uint32_t>{1});
  CHECK(world.asked.size() == 1);
  world.loop.advance(1ms);
  CHECK(world.ask("a.example", DnsType::a).ttls == std::vector<std::uint32_t>{300});
  CHECK(world.asked.size() == 2);
}

TEST_CASE("an alias chain is kept for the shortest of its TTLs") {
  DnsWorld world;
  world.add_upstream("192.0.2.1:53", [](const DnsMessage& query, Transport) {
    return ReplyBuilder(query)
        .alias("a.example", "b.example", 20)
        .address("b.example", "198.51.100.1", 300)
        .build();
  });
  world.ask("a.example", DnsType::a);
  world.loop.advance(19s);
  CHECK(world.ask("a.example", DnsType::a).ttls == std::vector<std::uint32_t>{1, 281});
  world.loop.advance(1s);
  world.ask("a.example", DnsType::a);
  CHECK(world.asked.size() == 2);
}

TEST_CASE("types are kept apart") {
  DnsWorld world;
  world.add_upstream("192.0.2.1:53", resolver_with("198.51.100.1", "2001:db8::7"));
  world.ask("a.example", DnsType::a);
  CHECK(world.ask("a.example", DnsType::aaaa).answers ==
        std::vector<std::string>{"a.example 28 2001:db8::7"});
}

TEST_CASE("a TTL of zero, or with its top bit set, is not kept") {
  auto ttl = GENERATE(0u, 0x80000001u);
  DnsWorld world;
  world.add_upstream("192.0.2.1:53", [&](const DnsMessage& query, Transport) {
    return ReplyBuilder(query).address("a.example", "198.51.100.1", ttl).build();
  });
  CHECK(world.ask("a.example", DnsType::a).ttls == std::vector<std::uint32_t>{0});
  world.ask("a.example", DnsType::a);
  CHECK(world.asked.size() == 2);
}

TEST_CASE("a negative answer is kept for the lesser of SOA TTL and minimum, at most an hour") {
  struct Row {
    std::uint32_t ttl;
    std::uint32_t minimum;
    std::chrono::seconds kept;
  };
  auto row = GENERATE(Row{900, 60, 60s}, Row{30, 600, 30s}, Row{100000, 100000, 3600s});
  auto code = GENERATE(DnsRcode::name_error, DnsRcode::no_error);
  DnsWorld world;
  world.add_upstream("192.0.2.1:53", [&](const DnsMessage& query, Transport) {
    return ReplyBuilder(query).rcode(code).soa("example", row.ttl, row.minimum).build();
  });
  world.ask("a.example", DnsType::a);
  world.loop.advance(row.kept - 1ms);
  CHECK(world.ask("a.example", DnsType::a).rcode == code);
  CHECK(world.asked.size() == 1);
  world.loop.advance(1ms);
  world.ask("a.example", DnsType::a);
  CHECK(world.asked.size() == 2);
}

TEST_CASE("a negative answer without a SOA, or with one of another zone, is not kept") {
  auto owner = GENERATE(std::optional<std::string>(), std::optional<std::string>("other.test"));
  DnsWorld world;
  world.add_upstream("192.0.2.1:53", [&](const DnsMessage& query, Transport) {
    ReplyBuilder reply(query);
    if (owner) reply.soa(*owner, 900, 900);
    return reply.rcode(DnsRcode::name_error).build();
  });
  CHECK_FALSE(world.ask("a.example", DnsType::a).soa_owner);
  world.ask("a.example", DnsType::a);
  CHECK(world.asked.size() == 2);
}

TEST_CASE("a failure is kept for one second, so that a retrying client does not beat upstreams") {
  DnsWorld world;
  world.add_upstream("192.0.2.1:53", failing_resolver(DnsRcode::server_failure));
  world.ask("a.example", DnsType::a);
  world.ask("a.example", DnsType::a);
  CHECK(world.asked.size() == 1);
  world.loop.advance(1s);
  world.ask("a.example", DnsType::a);
  CHECK(world.asked.size() == 2);
}

TEST_CASE("the cache stays within its bytes and forgets what was used longest ago") {
  DnsWorld world({.cache_bytes = 16384});
  world.add_upstream("192.0.2.1:53", resolver_with("198.51.100.1"));
  world.ask("kept.example", DnsType::a);
  for (int i = 0; i < 500; ++i) {
    world.ask(fmt::format("n{}.example", i), DnsType::a);
    world.ask("kept.example", DnsType::a);
    REQUIRE(world.service->cache().bytes() <= 16384);
  }
  CHECK(world.asked.size() == 501);
  CHECK(world.service->cache().entries() > 10);
  world.ask("n0.example", DnsType::a);
  CHECK(world.asked.size() == 502);
}

TEST_CASE("other upstreams mean an empty cache, the same upstreams don't") {
  DnsWorld world;
  world.add_upstream("192.0.2.1:53", resolver_with("198.51.100.1"));
  world.ask("a.example", DnsType::a);
  world.service->set_upstreams({endpoint("192.0.2.1:53")});
  world.ask("a.example", DnsType::a);
  CHECK(world.asked.size() == 1);
  world.add_upstream("192.0.2.2:53", resolver_with("198.51.100.2"));
  world.ask("a.example", DnsType::a);
  CHECK(world.asked.size() == 2);
}

TEST_CASE("where it is turned on, an answer past its time is given when every upstream fails") {
  DnsWorld world({.stale_if_error = 1h});
  auto fails = std::make_shared<bool>(false);
  int asked = 0;
  world.add_upstream("192.0.2.1:53", [&, fails](const DnsMessage& query, dns::Transport transport) {
    ++asked;
    auto answer =
        *fails ? failing_resolver(DnsRcode::server_failure) : resolver_with("198.51.100.1");
    return answer(query, transport);
  });
  world.ask("a.example", DnsType::a);
  *fails = true;
  SECTION("with a short TTL and an explanation, and nobody is asked again for 30 s") {
    world.loop.advance(400s);
    auto seen = world.ask("a.example", DnsType::a, {.edns_bytes = 1232});
    CHECK(seen.rcode == DnsRcode::no_error);
    CHECK(seen.answers.size() == 1);
    CHECK(seen.ttls == std::vector<std::uint32_t>{30});
    CHECK(seen.extended_error == 3);
    world.loop.advance(29s);
    CHECK(world.ask("a.example", DnsType::a).answers.size() == 1);
    CHECK(asked == 2);
    world.loop.advance(2s);
    CHECK(world.ask("a.example", DnsType::a).answers.size() == 1);
    CHECK(asked == 3);
    *fails = false;
    world.loop.advance(31s);
    auto fresh = world.ask("a.example", DnsType::a, {.edns_bytes = 1232});
    CHECK(fresh.ttls == std::vector<std::uint32_t>{300});
    CHECK_FALSE(fresh.extended_error);
  }
  SECTION("until it is older than that") {
    world.loop.advance(300s + 1h);
    CHECK(world.ask("a.example", DnsType::a).rcode == DnsRcode::server_failure);
  }
  SECTION("but for no other name or type") {
    world.loop.advance(400s);
    CHECK(world.ask("a.example", DnsType::aaaa).rcode == DnsRcode::server_failure);
    CHECK(world.ask("b.example", DnsType::a).rcode == DnsRcode::server_failure);
  }
}

TEST_CASE("a stale answer is still judged before the guest sees it") {
  bool remove = false;
  dns::Hooks hooks;
  hooks.on_answer = [&](const dns::AnswerNotice&) {
    return remove ? std::vector<std::size_t>{0} : std::vector<std::size_t>();
  };
  DnsWorld world({.stale_if_error = 1h}, hooks);
  world.add_upstream("192.0.2.1:53", resolver_with("198.51.100.1"));
  world.ask("a.example", DnsType::a);
  world.loop.advance(400s);
  world.add_resolver("192.0.2.1:53", failing_resolver(DnsRcode::server_failure));
  remove = true;
  CHECK(world.ask("a.example", DnsType::a).answers.empty());
}

TEST_CASE("without that setting an answer past its time is not given") {
  DnsWorld world;
  world.add_upstream("192.0.2.1:53", resolver_with("198.51.100.1"));
  world.ask("a.example", DnsType::a);
  world.loop.advance(301s);
  world.add_resolver("192.0.2.1:53", failing_resolver(DnsRcode::server_failure));
  CHECK(world.ask("a.example", DnsType::a).rcode == DnsRcode::server_failure);
}
