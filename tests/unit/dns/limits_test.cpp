#include <catch2/catch.hpp>

#include "dns/limiter.h"
#include "dns_world.h"

using namespace sluice;
using namespace sluice::test;
using dns::Limit;
using dns::LookupVerdict;
using dns::Transport;
using wire::DnsMessage;
using wire::DnsRcode;
using wire::DnsType;

namespace {

/// Names below `wild.example` are allowed by a rule on the zone, all others one by one.
struct LimitWorld : DnsWorld {
  explicit LimitWorld(DnsLimits limits)
      : DnsWorld(
            {.limits = limits},
            {.may_query =
                 [](const dns::Lookup& lookup) {
                   return lookup.name.is_in(domain("wild.example")) ? LookupVerdict::allow_below
                                                                    : LookupVerdict::allow;
                 },
             .on_limit = [this](const dns::Lookup& lookup,
                                Limit limit) { events.emplace_back(lookup.name.text(), limit); }}) {
    add_upstream("192.0.2.1:53", [](const DnsMessage& query, Transport transport) {
      const auto& question = query.questions()[0];
      if (question.type != DnsType::txt) {
        return resolver_with("198.51.100.1")(query, transport);
      }
      auto name = question.name.lowered().to_string();
      return std::optional(ReplyBuilder(query).text(name, std::string(99, 'x')).build());
    });
  }

  DnsRcode code(std::string_view name, DnsType type = DnsType::a, std::uint32_t guest = 0) {
    return ask(name, type, {.edns_bytes = 1232, .guest = guest}).rcode;
  }

  std::vector<std::pair<std::string, Limit>> events;
};

const DnsRcode kAnswered = DnsRcode::no_error;
const DnsRcode kOver = DnsRcode::server_failure;

}  // namespace

TEST_CASE("a guest may ask so many questions a second, four seconds' worth at once") {
  LimitWorld world({.queries_per_second = 5});
  for (int i = 0; i < 20; ++i) CHECK(world.code(fmt::format("n{}.example", i)) == kAnswered);
  auto seen = world.ask("over.example", DnsType::a, {.edns_bytes = 1232});
  CHECK(seen.rcode == kOver);
  CHECK(seen.extended_error == 18);
  CHECK(world.code("over2.example") == kOver);
  CHECK(world.asked.size() == 20);
  SECTION("what is in the cache is not counted") {
    CHECK(world.code("n0.example") == kAnswered);
  }
  SECTION("another guest is not affected") {
    CHECK(world.code("over.example", DnsType::a, 1) == kAnswered);
  }
  SECTION("there is one event, and another one a minute later") {
    CHECK(world.events == decltype(world.events){{"over.example", Limit::query_rate}});
    world.loop.advance(60s);
    for (int i = 0; i < 22; ++i) world.code(fmt::format("m{}.example", i));
    CHECK(world.events.size() == 2);
  }
  SECTION("after a second there are as many again") {
    world.loop.advance(1s);
    for (int i = 0; i < 5; ++i) CHECK(world.code(fmt::format("o{}.example", i)) == kAnswered);
    CHECK(world.code("over3.example") == kOver);
  }
}

TEST_CASE("a guest may ask so many different names of one registered zone in a minute") {
  LimitWorld world({.names_per_zone = 10});
  for (int i = 0; i < 10; ++i) {
    CHECK(world.code(fmt::format("n{}.a.example.com", i)) == kAnswered);
  }
  CHECK(world.code("other.b.example.com") == kOver);
  CHECK(world.code("n0.a.example.com", DnsType::aaaa) == kAnswered);
  CHECK(world.code("n0.example.org") == kAnswered);
  CHECK(world.code("other.b.example.com", DnsType::a, 1) == kAnswered);
  CHECK(world.code("another.example.com") == kOver);
  CHECK(world.events == decltype(world.events){{"other.b.example.com", Limit::names_in_zone}});
  world.loop.advance(60s);
  CHECK(world.code("another.example.com") == kAnswered);
}

TEST_CASE("answers other than addresses are limited in bytes a minute") {
  LimitWorld world({.data_bytes = 250});
  CHECK(world.code("a.example", DnsType::txt) == kAnswered);
  CHECK(world.code("b.example", DnsType::txt) == kAnswered);
  CHECK(world.code("c.example", DnsType::txt) == kOver);
  CHECK(world.asked.size() == 3);
  CHECK(world.code("c.example", DnsType::txt) == kOver);
  CHECK(world.code("d.example", DnsType::txt) == kOver);
  CHECK(world.asked.size() == 3);
  CHECK(world.code("d.example", DnsType::a) == kAnswered);
  CHECK(world.code("d.example", DnsType::txt, 1) == kAnswered);
  CHECK(world.events == decltype(world.events){{"c.example", Limit::data}});
  world.loop.advance(60s);
  CHECK(world.code("e.example", DnsType::txt) == kAnswered);
}

TEST_CASE("aliases before an address count as data only where no honest chain is so long") {
  LimitWorld world({.data_bytes = 100});
  auto length = GENERATE(2, 16);
  world.add_resolver("192.0.2.1:53", [length](const DnsMessage& query, Transport) {
    ReplyBuilder reply(query);
    auto name = query.questions()[0].name.lowered().to_string();
    for (int i = 0; i < length; ++i) {
      auto target = fmt::format("{}{:050}.{:050}.example", i, 0, 0);
      reply.alias(name, target);
      name = target;
    }
    return std::optional(reply.address(name, "198.51.100.1").build());
  });
  auto expected = length == 2 ? kAnswered : kOver;
  for (const char* name : {"a.example", "b.example", "a.example"}) {
    CHECK(world.code(name) == expected);
  }
}

TEST_CASE("encoded names are refused where only a rule on their zone allows them") {
  LimitWorld world({});
  std::string base32 = "mzxw6ytboi4gk3dpmnqwy2lomfzgs3ths5uc2lljzq7";
  CHECK(world.code(base32 + ".wild.example") == kOver);
  CHECK(world.code("x" + base32 + ".wild.example") == kOver);
  CHECK(world.asked.empty());
  CHECK(world.events.size() == 1);
  CHECK(world.code(base32 + ".example.com") == kAnswered);
  CHECK(world.code("www.wild.example") == kAnswered);
}

TEST_CASE("a limit of zero is none") {
  LimitWorld world({.queries_per_second = 0,
                    .names_per_zone = 0,
                    .data_bytes = 0,
                    .encoded_names = EncodedNames::allow});
  for (int i = 0; i < 4000; ++i) {
    REQUIRE(world.code(fmt::format("n{}.wild.example", i), DnsType::txt) == kAnswered);
  }
  CHECK(world.code("mzxw6ytboi4gk3dpmnqwy2lomfzgs3ths5uc2lljzq7.wild.example") == kAnswered);
}

TEST_CASE("names that machines really have are not taken for data") {
  auto name =
      GENERATE("d111111abcdef8.wild.example", "my-bucket.s3.eu-central-1.wild.example",
               "0123456789abcdef0123456789abcdef.us-central1.gcp.cloud.wild.example",
               "3f2504e0-4f89-41d3-9a0c-0305e82c3301.wild.example",
               "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b85.wild.example",
               "a-long-descriptive-name-of-some-service.staging.wild.example",
               "r4---sn-4g5ednsl.wild.example", "wild.example");
  CHECK_FALSE(dns::looks_encoded(domain(name), domain("wild.example")));
}

TEST_CASE("names that tunnels make are taken for data") {
  std::string label(60, 'a');
  CHECK(dns::looks_encoded(domain(label + "." + label + ".b.c"), domain("b.c")));
  CHECK(dns::looks_encoded(domain("0aqwzpe7bnrx2mkd9vhsf6gtjcy3ul8i5o4.x.b.c"), domain("b.c")));
}

TEST_CASE("the registered zone is two labels, or three below a country's second level") {
  struct Row {
    const char* name;
    const char* zone;
  };
  auto row = GENERATE(Row{"a.b.example.com", "example.com"}, Row{"example.com", "example.com"},
                      Row{"com", "com"}, Row{"a.b.co.uk", "b.co.uk"}, Row{"b.co.uk", "b.co.uk"},
                      Row{"co.uk", "co.uk"}, Row{"a.b.example.de", "example.de"},
                      Row{"a.b.com.au", "b.com.au"}, Row{"", ""});
  CHECK(dns::registered_zone(domain(row.name)) == domain(row.zone));
}

TEST_CASE("a guest that asks everything there is costs bounded memory") {
  dns::Limiter limiter({.queries_per_second = 0});
  TimePoint now(1h);
  dns::Client client;
  for (int i = 0; i < 200000; ++i) {
    auto name = domain(fmt::format("n{}.z{}.zone{}.example", i, i, i % 1000));
    limiter.count_query({client, name, DnsType::a, dns::Origin::upstream}, false, now);
  }
  CHECK(limiter.names(0) <= dns::Limiter::kMaxNames);
  auto name = domain("a.example");
  for (std::uint32_t guest = 0; guest < 5000; ++guest) {
    client.guest = guest;
    limiter.count_query({client, name, DnsType::a, dns::Origin::upstream}, false, now);
  }
  CHECK(limiter.guests() == dns::Limiter::kMaxGuests);
}
