#include <algorithm>
#include <catch2/catch.hpp>

#include "dns_world.h"

using namespace sluice;
using namespace sluice::test;
using dns::LookupVerdict;
using dns::Origin;
using dns::Transport;
using wire::DnsMessage;
using wire::DnsRcode;
using wire::DnsType;
using Answers = std::vector<std::string>;

namespace {

dns::Hooks denying(std::string_view name, LookupVerdict verdict) {
  dns::Hooks hooks;
  hooks.may_query = [name = domain(name), verdict](const dns::Lookup& lookup) {
    return lookup.name.is_in(name) ? verdict : LookupVerdict::allow;
  };
  return hooks;
}

/// What on_answer was told, as text.
struct Notes {
  std::vector<std::string> notices;
  std::vector<std::size_t> remove;

  dns::Hooks hooks() {
    dns::Hooks hooks;
    hooks.on_answer = [this](const dns::AnswerNotice& notice) {
      std::string text = fmt::format("guest {}{}:", notice.client.guest,
                                     notice.origin == Origin::local ? " local" : "");
      for (const auto& name : notice.names) text += " " + name.text();
      text += " ->";
      for (const auto& bound : notice.addresses) {
        text += fmt::format(" {}/{}s", bound.address.to_string(), bound.ttl.count());
      }
      notices.push_back(text);
      return remove;
    };
    return hooks;
  }
};

std::optional<Message> chain(const DnsMessage& query, Transport) {
  return ReplyBuilder(query)
      .alias("www.example.com", "cdn.example.net", 60)
      .address("cdn.example.net", "198.51.100.1", 300)
      .address("cdn.example.net", "10.0.0.9", 30)
      .build();
}

}  // namespace

TEST_CASE("the gateway's own lookup is judged, filtered and told of like the guest's") {
  Notes notes;
  notes.remove = {1};
  dns::Hooks hooks = notes.hooks();
  hooks.may_query = denying("denied.example.com", LookupVerdict::blocked).may_query;
  DnsWorld world({}, hooks);
  world.add_upstream("192.0.2.53:53", chain);
  std::vector<std::vector<IpAddress>> found;
  auto look_up = [&](std::string_view name, Family family) {
    world.service->look_up(
        domain(name), family,
        {.guest = 7, .source = endpoint("10.0.0.2:40000"), .server = endpoint("10.0.0.1:53")},
        [&](const std::vector<IpAddress>& addresses) { found.push_back(addresses); });
    world.loop.run_ready();
  };
  look_up("www.example.com", Family::v4);
  REQUIRE(found.size() == 1);
  CHECK(found[0] == std::vector{*IpAddress::parse("198.51.100.1")});
  CHECK(notes.notices.at(0).starts_with("guest 7: www.example.com cdn.example.net ->"));
  look_up("www.example.com", Family::v4);
  CHECK(found.size() == 2);
  CHECK(world.asked.size() == 1);  // from the cache
  look_up("denied.example.com", Family::v4);
  CHECK(found.at(2).empty());
  CHECK(world.asked.size() == 1);
  look_up("www.example.com", Family::v6);
  CHECK(found.at(3).empty());
  CHECK(world.service->counters().queries_udp + world.service->counters().queries_tcp == 0);
}

TEST_CASE(
    "a denied name is NXDOMAIN with SOA, says so to EDNS clients, and never leaves the host") {
  auto transport = GENERATE(Transport::udp, Transport::tcp);
  auto type = GENERATE(DnsType::a, DnsType::aaaa, DnsType::txt, DnsType::https, DnsType::any);
  DnsWorld world({}, denying("evil.example", LookupVerdict::blocked));
  world.add_upstream("192.0.2.1:53", resolver_with("198.51.100.1"));
  for (const char* name : {"evil.example", "EVIL.example", "secret-data.a.b.evil.example"}) {
    auto seen = world.ask(name, type, {.transport = transport, .edns_bytes = 1232});
    CHECK(seen.rcode == DnsRcode::name_error);
    CHECK(seen.soa_owner == name);
    CHECK(seen.extended_error == 15);
    CHECK(seen.answers.empty());
    CHECK_FALSE(world.ask(name, type, {.transport = transport}).has_edns);
  }
  CHECK(world.asked.empty());
  CHECK(world.net.datagrams.empty());
  CHECK(world.service->counters().denied == 6);
}

TEST_CASE("a denied name can be REFUSED instead") {
  DnsWorld world({.denied_names = DeniedNames::refused},
                 denying("evil.example", LookupVerdict::prohibited));
  world.add_upstream("192.0.2.1:53", resolver_with("198.51.100.1"));
  auto seen = world.ask("evil.example", DnsType::a, {.edns_bytes = 1232});
  CHECK(seen.rcode == DnsRcode::refused);
  CHECK(seen.extended_error == 18);
  CHECK(world.asked.empty());
}

TEST_CASE("a question that may not be asked any more is put to no other resolver, and not again") {
  std::vector<std::string> denied;
  dns::Hooks hooks;
  hooks.may_query = [&](const dns::Lookup& lookup) {
    bool is_denied = std::count(denied.begin(), denied.end(), lookup.name.text()) > 0 &&
                     lookup.client.guest != 7;
    return is_denied ? LookupVerdict::blocked : LookupVerdict::allow;
  };
  DnsWorld world({}, hooks);
  world.add_upstream("192.0.2.1:53", silent_resolver());
  world.add_upstream("192.0.2.2:53", silent_resolver());
  world.send("a.example", DnsType::txt);
  world.send("b.example", DnsType::txt);
  bool another_may = GENERATE(false, true);
  if (another_may) world.send("a.example", DnsType::txt, {.guest = 7});
  denied = {"a.example"};
  world.service->judge_again();
  REQUIRE(world.replies.size() == 1);
  CHECK(look_at(world.replies[0]).rcode == DnsRcode::name_error);
  world.asked.clear();
  world.loop.advance(5s);
  auto asked = std::count(world.asked.begin(), world.asked.end(), "a.example");
  CHECK((asked > 0) == another_may);
  CHECK(std::count(world.asked.begin(), world.asked.end(), "b.example") > 0);
  CHECK(world.replies.size() == (another_may ? 3 : 2));
  CHECK(world.net.open_datagrams() == 0);
  // Given back, it is asked as if nothing had been.
  denied.clear();
  world.add_resolver("192.0.2.1:53", resolver_with("198.51.100.1"));
  world.add_resolver("192.0.2.2:53", resolver_with("198.51.100.1"));
  CHECK(world.ask("a.example", DnsType::a).answers == Answers{"a.example 1 198.51.100.1"});
}

TEST_CASE("a name is judged for each client, though another's answer is in the cache") {
  dns::Hooks hooks;
  hooks.may_query = [](const dns::Lookup& lookup) {
    return lookup.client.guest == 1 ? LookupVerdict::allow : LookupVerdict::blocked;
  };
  DnsWorld world({}, hooks);
  world.add_upstream("192.0.2.1:53", resolver_with("198.51.100.1"));
  CHECK(world.ask("a.example", DnsType::a, {.guest = 1}).rcode == DnsRcode::no_error);
  CHECK(world.ask("a.example", DnsType::a, {.guest = 2}).rcode == DnsRcode::name_error);
}

TEST_CASE("on_answer is told every name of the chain and each address's least TTL") {
  Notes notes;
  DnsWorld world({}, notes.hooks());
  world.add_upstream("192.0.2.1:53", chain);
  world.ask("WWW.example.com", DnsType::a, {.guest = 7});
  CHECK(notes.notices == Answers{"guest 7: www.example.com cdn.example.net -> "
                                 "198.51.100.1/60s 10.0.0.9/30s"});
}

TEST_CASE("on_answer is told for cached answers too, with what is left of the TTL") {
  Notes notes;
  DnsWorld world({}, notes.hooks());
  world.add_upstream("192.0.2.1:53", resolver_with("198.51.100.1"));
  world.ask("a.example", DnsType::a, {.guest = 1});
  world.loop.advance(100s);
  world.ask("a.example", DnsType::a, {.guest = 2});
  CHECK(notes.notices == Answers{"guest 1: a.example -> 198.51.100.1/300s",
                                 "guest 2: a.example -> 198.51.100.1/200s"});
  CHECK(world.asked.size() == 1);
}

TEST_CASE("on_answer comes before the reply") {
  bool replied = false;
  bool told_first = false;
  dns::Hooks hooks;
  hooks.on_answer = [&](const dns::AnswerNotice&) {
    told_first = !replied;
    return std::vector<std::size_t>();
  };
  DnsWorld world({}, hooks);
  world.add_upstream("192.0.2.1:53", resolver_with("198.51.100.1"));
  world.service->query(make_query("a.example", DnsType::a), Transport::udp,
                       {0, endpoint("10.0.0.2:4000"), endpoint("10.0.0.1:53")},
                       [&](Message) { replied = true; });
  world.loop.run_ready();
  CHECK(replied);
  CHECK(told_first);
}

TEST_CASE("an address that on_answer removes is gone from the reply, the others stay") {
  Notes notes;
  notes.remove = {1};
  DnsWorld world({}, notes.hooks());
  world.add_upstream("192.0.2.1:53", chain);
  auto seen = world.ask("www.example.com", DnsType::a, {.edns_bytes = 1232});
  CHECK(seen.answers ==
        Answers{"www.example.com 5 cdn.example.net", "cdn.example.net 1 198.51.100.1"});
  CHECK(seen.extended_error == 15);
  CHECK(world.service->counters().addresses_removed == 1);
}

TEST_CASE("when every address is removed the reply is empty or NXDOMAIN, as configured") {
  auto when_emptied = GENERATE(dns::EmptiedAnswer::no_data, dns::EmptiedAnswer::nxdomain);
  Notes notes;
  notes.remove = {0, 1};
  DnsWorld world({.when_emptied = when_emptied}, notes.hooks());
  world.add_upstream("192.0.2.1:53", chain);
  auto seen = world.ask("www.example.com", DnsType::a, {.edns_bytes = 1232});
  bool nxdomain = when_emptied == dns::EmptiedAnswer::nxdomain;
  CHECK(seen.rcode == (nxdomain ? DnsRcode::name_error : DnsRcode::no_error));
  CHECK(seen.answers.empty());
  CHECK(seen.soa_owner == "www.example.com");
  CHECK(seen.extended_error == 15);
}

TEST_CASE("local names are told as local, so that a rebinding filter can let them be") {
  Notes notes;
  DnsWorld world({}, notes.hooks());
  world.service->local_zone().set_addresses(domain("host.vm.internal"),
                                            {IpAddress::v4(10, 0, 0, 1)});
  world.ask("host.vm.internal", DnsType::a);
  CHECK(notes.notices == Answers{"guest 0 local: host.vm.internal -> 10.0.0.1/10s"});
}

TEST_CASE("answers without addresses are not told") {
  Notes notes;
  DnsWorld world({}, notes.hooks());
  world.add_upstream("192.0.2.1:53", [](const DnsMessage& query, Transport) {
    return ReplyBuilder(query).text("a.example", "hello").build();
  });
  world.ask("a.example", DnsType::txt);
  CHECK(notes.notices.empty());
}
