#include <catch2/catch.hpp>

#include <algorithm>

#include "dns_world.h"

using namespace sluice;
using namespace sluice::test;
using dns::Transport;
using wire::DnsMessage;
using wire::DnsRcode;
using wire::DnsType;
using Answers = std::vector<std::string>;

TEST_CASE("a name is resolved by the upstream, over either transport") {
  auto transport = GENERATE(Transport::udp, Transport::tcp);
  DnsWorld world;
  world.add_upstream("192.0.2.53:53", resolver_with("198.51.100.7"));
  auto seen = world.ask("WWW.Example.com", DnsType::a, {.transport = transport});
  CHECK(seen.rcode == DnsRcode::no_error);
  CHECK(seen.header.id == 0x1234);
  CHECK(seen.header.response);
  CHECK(seen.header.recursion_desired);
  CHECK(seen.header.recursion_available);
  CHECK_FALSE(seen.header.authoritative);
  CHECK(seen.question == "WWW.Example.com");
  CHECK(seen.answers == Answers{"WWW.Example.com 1 198.51.100.7"});
  CHECK_FALSE(seen.has_edns);
}

TEST_CASE("upstream questions differ in id, port and letter case from one to the next") {
  DnsWorld world;
  std::vector<std::string> names;
  std::vector<std::uint16_t> ids;
  world.add_upstream("192.0.2.53:53", [&](const DnsMessage& query, Transport) {
    names.push_back(query.questions()[0].name.to_string());
    ids.push_back(query.header().id);
    return std::nullopt;
  });
  world.send("a-long-name-of-letters.example.com", DnsType::a);
  world.send("a-long-name-of-letters.example.com", DnsType::aaaa);
  REQUIRE(names.size() == 2);
  CHECK(names[0] != names[1]);
  CHECK(ids[0] != ids[1]);
  CHECK(world.net.datagrams.size() == 2);
}

TEST_CASE("an alias chain is given to the client with its addresses and nothing else") {
  DnsWorld world;
  world.add_upstream("192.0.2.53:53", [](const DnsMessage& query, Transport) {
    return ReplyBuilder(query)
        .authentic()
        .address("other.example", "203.0.113.66")
        .alias("www.example.com", "cdn.example.net")
        .text("www.example.com", "unasked")
        .alias("cdn.example.net", "edge.example.net")
        .address("edge.example.net", "198.51.100.1")
        .address("edge.example.net", "198.51.100.2")
        .build();
  });
  auto seen = world.ask("www.example.com", DnsType::a);
  CHECK(seen.answers ==
        Answers{"www.example.com 5 cdn.example.net", "cdn.example.net 5 edge.example.net",
                "edge.example.net 1 198.51.100.1", "edge.example.net 1 198.51.100.2"});
  CHECK_FALSE(seen.header.authentic_data);
}

TEST_CASE("a truncated UDP answer is fetched again over TCP") {
  DnsWorld world;
  world.add_upstream("192.0.2.53:53", [](const DnsMessage& query, Transport transport) {
    if (transport == Transport::udp) return ReplyBuilder(query).truncated().build();
    return ReplyBuilder(query).address("big.example.com", "198.51.100.9").build();
  });
  CHECK(world.ask("big.example.com", DnsType::a).answers ==
        Answers{"big.example.com 1 198.51.100.9"});
  CHECK(world.service->counters().upstream_tcp == 1);
  CHECK(world.net.open_streams() == 0);
  CHECK(world.net.open_datagrams() == 0);
}

TEST_CASE("a reply larger than the client's UDP size is truncated, and whole over TCP") {
  DnsWorld world;
  world.add_upstream("192.0.2.53:53", [](const DnsMessage& query, Transport) {
    ReplyBuilder reply(query);
    for (int i = 0; i < 10; ++i) reply.text("t.example.com", std::string(200, 'x'));
    return reply.build();
  });
  struct Row {
    std::optional<std::uint16_t> edns_bytes;
    Transport transport;
    bool truncated;
  };
  auto row = GENERATE(Row{std::nullopt, Transport::udp, true}, Row{0, Transport::udp, true},
                      Row{512, Transport::udp, true}, Row{65535, Transport::udp, true},
                      Row{std::nullopt, Transport::tcp, false}, Row{512, Transport::tcp, false});
  auto seen = world.ask("t.example.com", DnsType::txt,
                        {.transport = row.transport, .edns_bytes = row.edns_bytes});
  CHECK(seen.header.truncated == row.truncated);
  CHECK(seen.answers.size() == (row.truncated ? 0 : 10));
  CHECK(seen.has_edns == row.edns_bytes.has_value());
  CHECK(seen.question == "t.example.com");
}

TEST_CASE("an EDNS client gets as much over UDP as it offers, up to 1232 bytes") {
  DnsWorld world;
  world.add_upstream("192.0.2.53:53", [](const DnsMessage& query, Transport) {
    ReplyBuilder reply(query);
    for (int i = 0; i < 5; ++i) reply.text("t.example.com", std::string(200, 'x'));
    return reply.build();
  });
  auto seen = world.ask("t.example.com", DnsType::txt, {.edns_bytes = 1232});
  CHECK_FALSE(seen.header.truncated);
  CHECK(seen.answers.size() == 5);
  CHECK(seen.bytes <= 1232);
}

TEST_CASE("a negative answer keeps its code and SOA") {
  DnsWorld world;
  world.add_upstream("192.0.2.53:53", [](const DnsMessage& query, Transport) {
    auto code = query.questions()[0].name.same_as(wire_name("gone.example.com"))
                    ? DnsRcode::name_error
                    : DnsRcode::no_error;
    return ReplyBuilder(query).rcode(code).soa("example.com", 900, 60).build();
  });
  auto gone = world.ask("gone.example.com", DnsType::a);
  CHECK(gone.rcode == DnsRcode::name_error);
  CHECK(gone.soa_owner == "example.com");
  auto empty = world.ask("empty.example.com", DnsType::a);
  CHECK(empty.rcode == DnsRcode::no_error);
  CHECK(empty.answers.empty());
  CHECK(empty.soa_owner == "example.com");
}

TEST_CASE("SERVFAIL or REFUSED from one upstream makes the next one answer at once") {
  auto code = GENERATE(DnsRcode::server_failure, DnsRcode::refused, DnsRcode::not_implemented);
  DnsWorld world;
  world.add_upstream("192.0.2.1:53", failing_resolver(code));
  world.add_upstream("192.0.2.2:53", resolver_with("198.51.100.2"));
  CHECK(world.ask("a.example", DnsType::a).answers == Answers{"a.example 1 198.51.100.2"});
}

TEST_CASE("an unreachable upstream makes the next one answer at once") {
  DnsWorld world;
  world.add_upstream("192.0.2.1:53", silent_resolver());
  world.add_upstream("192.0.2.2:53", resolver_with("198.51.100.2"));
  SECTION("when sending fails") {
    auto script = world.net.on_datagram_socket;
    bool first = true;
    world.net.on_datagram_socket = [&](DatagramPeer& peer) {
      script(peer);
      if (std::exchange(first, false)) peer.fail_send(ENETUNREACH);
    };
    CHECK(world.ask("a.example", DnsType::a).answers.size() == 1);
  }
  SECTION("when an ICMP error comes back") {
    world.send("a.example", DnsType::a);
    REQUIRE(world.replies.empty());
    SocketError refused;
    refused.error = ECONNREFUSED;
    world.net.datagrams[0]->feed_error(refused);
    world.loop.run_ready();
    REQUIRE(world.replies.size() == 1);
    CHECK(look_at(world.replies[0]).answers.size() == 1);
  }
}

TEST_CASE("a silent upstream is given 300 ms before the next is asked") {
  DnsWorld world;
  world.add_upstream("192.0.2.1:53", silent_resolver());
  world.add_upstream("192.0.2.2:53", resolver_with("198.51.100.2"));
  world.send("a.example", DnsType::a);
  world.loop.advance(299ms);
  CHECK(world.asked.size() == 1);
  CHECK(world.replies.empty());
  world.loop.advance(1ms);
  REQUIRE(world.replies.size() == 1);
  CHECK(look_at(world.replies[0]).answers == Answers{"a.example 1 198.51.100.2"});
  CHECK(world.service->counters().upstream_timeouts == 1);
}

TEST_CASE("each upstream is asked once, 300 ms apart, before any is asked again") {
  DnsWorld world;
  std::vector<std::pair<int, Duration>> seen;
  auto start = world.loop.now();
  for (int i = 1; i <= 3; ++i) {
    world.add_upstream(fmt::format("192.0.2.{}:53", i), [&, i](const DnsMessage&, Transport) {
      seen.emplace_back(i, world.loop.now() - start);
      return std::nullopt;
    });
  }
  world.send("a.example", DnsType::a);
  world.loop.advance(5s);
  CHECK(seen == std::vector<std::pair<int, Duration>>{
                    {1, 0ms}, {2, 300ms}, {3, 600ms}, {1, 1600ms}, {2, 2600ms}, {3, 3600ms}});
  CHECK(world.replies.size() == 1);
}

TEST_CASE("an upstream that is slow but answers first is not held for a dead one") {
  DnsWorld world;
  int first_asked = 0;
  std::optional<Message> reply;
  world.add_upstream("192.0.2.1:53", [&](const DnsMessage& query, Transport) {
    ++first_asked;
    auto name = query.questions()[0].name.lowered().to_string();
    reply = ReplyBuilder(query).address(name, "198.51.100.1").build();
    return std::nullopt;
  });
  world.add_upstream("192.0.2.2:53", silent_resolver());
  for (const char* name : {"a.example", "b.example", "c.example"}) {
    world.send(name, DnsType::a);
    world.loop.advance(400ms);
    auto asked = std::ranges::find_if(world.net.datagrams, [](const auto& socket) {
      return !socket->closed() && socket->sent.back().to == endpoint("192.0.2.1:53");
    });
    REQUIRE(asked != world.net.datagrams.end());
    (*asked)->feed(endpoint("192.0.2.1:53"), to_text(*reply));
    world.loop.run_ready();
  }
  CHECK(world.replies.size() == 3);
  CHECK(first_asked == 3);
}

TEST_CASE("a slow upstream's answer counts even after others were asked") {
  DnsWorld world;
  std::optional<Message> slow_reply;
  world.add_upstream("192.0.2.1:53", [&](const DnsMessage& query, Transport) {
    if (!slow_reply) slow_reply = ReplyBuilder(query).address("a.example", "198.51.100.1").build();
    return std::nullopt;
  });
  world.send("a.example", DnsType::a);
  world.loop.advance(3s);
  CHECK(world.replies.empty());
  world.net.datagrams[0]->feed(endpoint("192.0.2.1:53"), to_text(*slow_reply));
  world.loop.run_ready();
  REQUIRE(world.replies.size() == 1);
  CHECK(look_at(world.replies[0]).answers == Answers{"a.example 1 198.51.100.1"});
  CHECK(world.net.open_datagrams() == 0);
}

TEST_CASE("an upstream that was silent twice is asked last until it has had time to recover") {
  DnsWorld world;
  int first_asked = 0;
  world.add_upstream("192.0.2.1:53", [&](const DnsMessage&, Transport) {
    ++first_asked;
    return std::nullopt;
  });
  world.add_upstream("192.0.2.2:53", resolver_with("198.51.100.2"));
  for (const char* name : {"a.example", "b.example"}) {
    world.send(name, DnsType::a);
    world.loop.advance(1s);
  }
  CHECK(first_asked == 2);
  CHECK(world.ask("c.example", DnsType::a).answers.size() == 1);
  CHECK(first_asked == 2);
  world.loop.advance(2s);
  world.send("d.example", DnsType::a);
  CHECK(first_asked == 3);
}

TEST_CASE("SERVFAIL with an explanation is the answer when every upstream fails") {
  DnsWorld world;
  SECTION("they are silent: before the client's resolver gives up") {
    world.add_upstream("192.0.2.1:53", silent_resolver());
    auto seen = world.ask("a.example", DnsType::a, {.edns_bytes = 1232}, 4500ms);
    CHECK(seen.rcode == DnsRcode::server_failure);
    CHECK(seen.extended_error == 22);
  }
  SECTION("they answer SERVFAIL: at once") {
    world.add_upstream("192.0.2.1:53", failing_resolver(DnsRcode::server_failure));
    world.add_upstream("192.0.2.2:53", failing_resolver(DnsRcode::refused));
    CHECK(world.ask("a.example", DnsType::a).rcode == DnsRcode::server_failure);
    CHECK(world.asked.size() == 2);
  }
  SECTION("there is none") {
    CHECK(world.ask("a.example", DnsType::a).rcode == DnsRcode::server_failure);
  }
  SECTION("no socket can be opened") {
    world.add_upstream("192.0.2.1:53", resolver_with("198.51.100.1"));
    world.net.udp_status = Status(StatusCode::exhausted, "out of descriptors");
    CHECK(world.ask("a.example", DnsType::a).rcode == DnsRcode::server_failure);
  }
  world.loop.advance(dns::QuerySockets::kMostAge);
  CHECK(world.net.open_datagrams() == 0);
}

TEST_CASE("an IPv6 upstream is asked from an IPv6 socket") {
  DnsWorld world;
  world.add_upstream("[2001:db8::53]:5353", resolver_with("198.51.100.1"));
  CHECK(world.ask("a.example", DnsType::a).answers.size() == 1);
  CHECK(world.net.datagrams[0]->local.address.is_v6());
}

TEST_CASE("the same question asked by many goes upstream once") {
  DnsWorld world;
  std::optional<Message> reply;
  world.add_upstream("192.0.2.1:53", [&](const DnsMessage& query, Transport) {
    reply = ReplyBuilder(query).address("a.example", "198.51.100.1").build();
    return std::nullopt;
  });
  for (std::uint16_t i = 0; i < 20; ++i) {
    world.send(i % 2 ? "A.example" : "a.example", DnsType::a, {.id = i});
  }
  CHECK(world.asked.size() == 1);
  world.net.datagrams[0]->feed(endpoint("192.0.2.1:53"), to_text(*reply));
  world.loop.run_ready();
  REQUIRE(world.replies.size() == 20);
  for (std::uint16_t i = 0; i < 20; ++i) {
    auto seen = look_at(world.replies[i]);
    CHECK(seen.header.id == i);
    CHECK(seen.question == (i % 2 ? "A.example" : "a.example"));
  }
}

TEST_CASE("beyond the limits of open questions and waiting queries the answer is SERVFAIL") {
  DnsWorld world({.max_open_questions = 2, .max_waiting_queries = 3});
  world.add_upstream("192.0.2.1:53", silent_resolver());
  world.send("a.example", DnsType::a);
  world.send("b.example", DnsType::a);
  CHECK(world.ask("c.example", DnsType::a).rcode == DnsRcode::server_failure);
  world.send("a.example", DnsType::a);
  CHECK(world.ask("a.example", DnsType::a).rcode == DnsRcode::server_failure);
  CHECK(world.service->counters().overloaded == 2);
  world.loop.advance(6s);
  CHECK(world.replies.size() == 3);
  world.send("d.example", DnsType::a);
  CHECK(world.replies.size() == 3);
}

TEST_CASE("a Service that goes away with questions open replies to none and closes its sockets") {
  DnsWorld world;
  world.add_upstream("192.0.2.1:53", silent_resolver());
  world.send("a.example", DnsType::a);
  world.service.reset();
  world.loop.advance(10s);
  CHECK(world.replies.empty());
  CHECK(world.net.open_datagrams() == 0);
  CHECK(world.loop.active_timers() == 0);
}
