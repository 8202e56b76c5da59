#include <catch2/catch.hpp>

#include "dns_world.h"

using namespace sluice;
using namespace sluice::test;
using dns::Transport;
using wire::DnsMessage;
using wire::DnsRcode;
using wire::DnsType;

namespace {

Message changed(Message message, std::size_t at, std::vector<std::uint8_t> bytes) {
  std::copy(bytes.begin(), bytes.end(), message.begin() + static_cast<long>(at));
  return message;
}

Message longer(Message message, std::vector<std::uint8_t> tail) {
  message.insert(message.end(), tail.begin(), tail.end());
  return message;
}

const Message kOpt{0, 0, 41, 4, 0xd0, 0, 0, 0, 0, 0, 0};

}  // namespace

TEST_CASE("a message that is no proper query is answered with its error and goes nowhere") {
  Message good = make_query("a.example", DnsType::a);
  Message edns = make_query("a.example", DnsType::a, {.edns_bytes = 1232});
  struct Row {
    const char* what;
    Message message;
    DnsRcode rcode;
  };
  std::vector<Row> rows{
      {"opcode STATUS", changed(good, 2, {0x11}), DnsRcode::not_implemented},
      {"opcode UPDATE", changed(good, 2, {0x29}), DnsRcode::not_implemented},
      {"no question", changed(Message(good.begin(), good.begin() + 12), 4, {0, 0}),
       DnsRcode::format_error},
      {"count without a question", Message(good.begin(), good.begin() + 12),
       DnsRcode::format_error},
      {"two questions", changed(longer(good, Message(good.begin() + 12, good.end())), 4, {0, 2}),
       DnsRcode::format_error},
      {"count of 65535 questions", changed(good, 4, {0xff, 0xff}), DnsRcode::format_error},
      {"count of 65535 records", changed(good, 10, {0xff, 0xff}), DnsRcode::format_error},
      {"cut-off question", Message(good.begin(), good.end() - 1), DnsRcode::format_error},
      {"bytes after the end", longer(good, {0}), DnsRcode::format_error},
      {"a name that points to itself", changed(good, 12, {0xc0, 12}), DnsRcode::format_error},
      {"an answer in the query",
       changed(longer(good, {0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0}), 6, {0, 1}), DnsRcode::format_error},
      {"two OPT records", changed(longer(edns, kOpt), 10, {0, 2}), DnsRcode::format_error},
      {"an OPT with a name",
       changed(longer(good, {1, 'x', 0, 0, 41, 4, 0xd0, 0, 0, 0, 0, 0, 0}), 10, {0, 1}),
       DnsRcode::format_error},
      {"an OPT whose option is cut off",
       changed(longer(good, {0, 0, 41, 4, 0xd0, 0, 0, 0, 0, 0, 4, 0, 3, 0, 9}), 10, {0, 1}),
       DnsRcode::format_error},
      {"EDNS version 1", changed(edns, edns.size() - 5, {1}), DnsRcode::bad_version},
      {"class CHAOS", changed(good, good.size() - 2, {0, 3}), DnsRcode::refused},
      {"class ANY", changed(good, good.size() - 2, {0, 255}), DnsRcode::refused},
      {"type AXFR", changed(good, good.size() - 4, {0, 252}), DnsRcode::not_implemented},
      {"type OPT", changed(good, good.size() - 4, {0, 41}), DnsRcode::not_implemented},
      {"type 0", changed(good, good.size() - 4, {0, 0}), DnsRcode::not_implemented},
  };
  for (const auto& row : rows) {
    for (auto transport : {Transport::udp, Transport::tcp}) {
      INFO(row.what);
      DnsWorld world;
      world.add_upstream("192.0.2.1:53", resolver_with("198.51.100.1"));
      auto reply = world.ask_raw(row.message, {.transport = transport});
      REQUIRE(reply);
      auto seen = look_at(*reply);
      CHECK(seen.rcode == row.rcode);
      CHECK(seen.header.response);
      CHECK(seen.header.id == 0x1234);
      CHECK(seen.answers.empty());
      CHECK(world.asked.empty());
    }
  }
}

TEST_CASE("what is shorter than a header, or is itself a response, gets silence") {
  DnsWorld world;
  Message query = make_query("a.example", DnsType::a);
  CHECK(world.ask_raw({})->empty());
  CHECK(world.ask_raw(Message(query.begin(), query.begin() + 11))->empty());
  CHECK(world.ask_raw(changed(query, 2, {0x81}))->empty());
  CHECK(world.service->counters().ignored == 3);
}

TEST_CASE("a query's EDNS options and flags stop here: upstream sees a name and a type") {
  DnsWorld world;
  std::vector<Message> upstream;
  world.add_upstream("192.0.2.1:53", [&](const DnsMessage& query, Transport) {
    upstream.emplace_back(query.bytes().begin(), query.bytes().end());
    return ReplyBuilder(query).address("a.example", "198.51.100.1").build();
  });
  // CD and AD set, DO set, and an option of 8 secret bytes.
  Message query = changed(make_query("a.example", DnsType::a), 2, {0x01, 0x30});
  query = changed(longer(query, {0,    0, 41, 4,   0xd0, 0,   0,   0x80, 0,   0,   12, 0xfd,
                                 0xe9, 0, 8,  's', 'e',  'c', 'r', 'e',  't', '!', '!'}),
                  10, {0, 1});
  auto reply = world.ask_raw(query);
  REQUIRE(reply);
  CHECK(look_at(*reply).has_edns);
  CHECK(look_at(*reply).header.checking_disabled);
  REQUIRE(upstream.size() == 1);
  auto sent = DnsMessage::parse(upstream[0]);
  CHECK_FALSE(sent->header().checking_disabled);
  CHECK_FALSE(sent->header().authentic_data);
  REQUIRE(sent->records().size() == 1);
  CHECK(sent->records()[0].ttl_seconds == 0);
  CHECK(sent->records()[0].rdata.empty());
}

TEST_CASE("ANY is answered with a record that ends the search, and never forwarded") {
  DnsWorld world;
  world.add_upstream("192.0.2.1:53", resolver_with("198.51.100.1"));
  auto seen = world.ask("a.example", DnsType::any);
  CHECK(seen.rcode == DnsRcode::no_error);
  CHECK(seen.answers == std::vector<std::string>{"a.example 13 (9 bytes)"});
  CHECK(world.asked.empty());
}

TEST_CASE("a name with bytes that no rule can match is NXDOMAIN and never forwarded") {
  DnsWorld world;
  world.add_upstream("192.0.2.1:53", resolver_with("198.51.100.1"));
  Message query = make_query("aXb.example", DnsType::a, {.edns_bytes = 1232});
  auto byte = GENERATE(std::uint8_t{0}, std::uint8_t{' '}, std::uint8_t{'.'}, std::uint8_t{'*'},
                       std::uint8_t{0xc3});
  auto reply = world.ask_raw(changed(query, 14, {byte}));
  REQUIRE(reply);
  auto seen = look_at(*reply);
  CHECK(seen.rcode == DnsRcode::name_error);
  CHECK(seen.soa_owner == seen.question);
  CHECK(seen.extended_error == 15);
  CHECK(world.asked.empty());
  CHECK(world.service->counters().denied == 1);
}

TEST_CASE("the root can be asked about") {
  DnsWorld world;
  world.add_upstream("192.0.2.1:53", [](const DnsMessage& query, Transport) {
    return ReplyBuilder(query).soa("", 900, 900).build();
  });
  CHECK(world.ask("", DnsType::a).soa_owner == ".");
}

TEST_CASE("replies are counted by code") {
  DnsWorld world;
  world.add_upstream("192.0.2.1:53", resolver_with("198.51.100.1"));
  world.ask("a.example", DnsType::a);
  world.ask("a.example", DnsType::a, {.transport = Transport::tcp});
  world.ask("nothing.vm.internal", DnsType::a);
  const auto& counters = world.service->counters();
  CHECK(counters.queries_udp == 2);
  CHECK(counters.queries_tcp == 1);
  CHECK(counters.replies_by_rcode[0] == 2);
  CHECK(counters.replies_by_rcode[3] == 1);
  CHECK(counters.cache_hits == 1);
  CHECK(counters.local_answers == 1);
  CHECK(counters.upstream_answers == 1);
  CHECK(counters.upstream_latency[0] == 1);
}
