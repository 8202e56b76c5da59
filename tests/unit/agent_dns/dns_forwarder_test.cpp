#include "agent/dns/dns_forwarder.h"

#include <catch2/catch.hpp>

#include "agent_dns/guest_dns_world.h"

namespace sluice::agent {

using test::endpoint;
using wire::DnsRcode;
using wire::DnsType;
using namespace std::chrono_literals;
using Strings = std::vector<std::string>;

namespace {

struct ForwardingWorld : GuestDnsWorld {
  ForwardingWorld() { dns.forwarder().set_servers({first, second}); }
  Endpoint first = endpoint("10.0.2.1:53");
  Endpoint second = endpoint("[fd00::1]:53");

  test::DatagramPeer& only() {
    REQUIRE(outside().size() == 1);
    return *outside()[0];
  }
  test::Seen only_reply() {
    auto seen = replies();
    REQUIRE(seen.size() == 1);
    return seen[0];
  }
};

}  // namespace

TEST_CASE("a question goes out with an id of its own and its answer comes with the client's") {
  ForwardingWorld world;
  world.send("a.example");
  CHECK(static_cast<std::uint8_t>(world.only().sent[0].data[1]) == 1);
  world.answer(world.only());
  auto seen = world.only_reply();
  CHECK(seen.header.id == 0x1234);
  CHECK(seen.answers == Strings{"a.example 1 192.0.2.1"});
  CHECK(world.net.open_datagrams() == 1);
}

TEST_CASE("an answer of another server, id or question is passed over") {
  ForwardingWorld world;
  world.send("a.example");
  auto& socket = world.only();
  auto sent = socket.sent[0];
  test::Message bytes(sent.data.begin(), sent.data.end());
  auto query = wire::DnsMessage::parse(bytes);
  auto good = test::ReplyBuilder(*query).address("a.example", "203.0.113.66").build();
  socket.feed(endpoint("10.0.2.9:53"), test::to_text(good));
  socket.feed(endpoint("10.0.2.1:54"), test::to_text(good));
  auto other_id = test::ReplyBuilder(*query).id(99).address("a.example", "203.0.113.66").build();
  socket.feed(sent.to, test::to_text(other_id));
  auto other_name = test::ReplyBuilder(*query)
                        .question({test::wire_name("b.example"), DnsType::a})
                        .address("b.example", "203.0.113.66")
                        .build();
  socket.feed(sent.to, test::to_text(other_name));
  socket.feed(sent.to, "junk");
  world.loop.run_ready();
  CHECK(world.replies().empty());
  CHECK(world.dns.counters().upstream_forged == 5);
  world.answer(socket);
  CHECK(world.only_reply().answers == Strings{"a.example 1 192.0.2.1"});
}

TEST_CASE("a server that is silent for two seconds is followed by the next, which is then first") {
  ForwardingWorld world;
  world.send("a.example");
  CHECK(world.only().sent[0].to == world.first);
  world.loop.advance(1999ms);
  CHECK(world.only().sent[0].to == world.first);
  world.loop.advance(1ms);
  CHECK(world.only().sent[0].to == world.second);
  world.answer(world.only());
  CHECK(world.only_reply().rcode == DnsRcode::no_error);
  world.send("b.example");
  CHECK(world.only().sent[0].to == world.second);
}

TEST_CASE("where no server answers, the client is told so") {
  ForwardingWorld world;
  world.send("a.example", DnsType::a, {.edns_bytes = 1232});
  world.loop.advance(4s);
  auto seen = world.only_reply();
  CHECK(seen.rcode == DnsRcode::server_failure);
  CHECK(seen.extended_error == 22);
  CHECK(world.net.open_datagrams() == 1);
}

TEST_CASE("a server that can't be reached is followed by the next at once") {
  ForwardingWorld world;
  world.send("a.example");
  world.only().feed_error({.error = ECONNREFUSED, .destination = world.first});
  world.loop.run_ready();
  CHECK(world.only().sent[0].to == world.second);
  world.only().feed_error({.error = EHOSTUNREACH, .destination = world.second});
  world.loop.run_ready();
  CHECK(world.only_reply().rcode == DnsRcode::server_failure);
}

TEST_CASE("questions wait for the first server to be known, and for two seconds at most") {
  GuestDnsWorld world;
  world.send("a.example");
  world.loop.advance(1s);
  world.dns.forwarder().set_servers({endpoint("10.0.2.1:53")});
  REQUIRE(world.outside().size() == 1);
  world.answer(*world.outside()[0]);
  CHECK(world.replies().at(0).rcode == DnsRcode::no_error);

  world.dns.forwarder().set_servers({});
  world.send("b.example");
  world.loop.advance(2s);
  CHECK(world.replies().at(0).rcode == DnsRcode::server_failure);
}

TEST_CASE("a question under way follows servers that change") {
  ForwardingWorld world;
  world.send("a.example");
  world.dns.forwarder().set_servers({endpoint("10.0.2.7:53")});
  CHECK(world.only().sent[0].to == endpoint("10.0.2.7:53"));
  // One that is still among them is not asked anew.
  world.dns.forwarder().set_servers({endpoint("10.0.2.8:53"), endpoint("10.0.2.7:53")});
  CHECK(world.only().sent[0].to == endpoint("10.0.2.7:53"));
  world.answer(world.only());
  CHECK(world.only_reply().rcode == DnsRcode::no_error);
}

TEST_CASE("equal questions are asked once and each answered with its own id") {
  ForwardingWorld world;
  for (std::uint16_t id = 1; id <= 5; ++id) world.send("a.example", DnsType::a, {.id = id});
  world.send("a.example", DnsType::aaaa);
  CHECK(world.outside().size() == 2);
  world.answer(*world.outside()[0]);
  auto seen = world.replies();
  REQUIRE(seen.size() == 5);
  for (std::uint16_t id = 1; id <= 5; ++id) CHECK(seen[id - 1u].header.id == id);
}

TEST_CASE("past each limit of what waits the answer is SERVFAIL at once, and at it not yet") {
  ForwardingWorld world;
  SECTION("of one client") {
    for (std::size_t i = 0; i < DnsForwarder::kMaxPerClient; ++i) world.send("a.example");
    CHECK(world.replies().empty());
    CHECK(world.ask("a.example").rcode == DnsRcode::server_failure);
    world.send("a.example", DnsType::a, {.source = "10.1.0.2:9"});
    CHECK(world.replies().empty());
  }
  SECTION("of different questions") {
    for (std::size_t i = 0; i < DnsForwarder::kMaxQuestions; ++i) {
      world.send(fmt::format("n{}.example", i), DnsType::a,
                 {.source = fmt::format("10.1.0.{}:9", i % 200 + 1)});
    }
    CHECK(world.replies().empty());
    CHECK(world.ask("more.example").rcode == DnsRcode::server_failure);
    world.send("n0.example");
    CHECK(world.replies().empty());
  }
  SECTION("of all") {
    for (std::size_t i = 0; i < DnsForwarder::kMaxWaiting; ++i) {
      world.send("a.example", DnsType::a, {.source = fmt::format("10.1.{}.2:9", i % 250)});
    }
    CHECK(world.replies().empty());
    CHECK(world.ask("a.example", DnsType::a, {.source = "10.9.9.9:9"}).rcode ==
          DnsRcode::server_failure);
  }
  CHECK(world.dns.counters().over_limit == 1);
  world.loop.advance(4s);
  CHECK(world.dns.forwarder().waiting() == 0);
  CHECK(world.net.open_datagrams() == 1);
}

TEST_CASE("without sockets to be had the answer is SERVFAIL, and later questions are asked again") {
  ForwardingWorld world;
  world.net.udp_status = Status(StatusCode::exhausted, "no descriptors");
  world.send("a.example");
  world.loop.advance(10ms);
  CHECK(world.only_reply().rcode == DnsRcode::server_failure);
  world.net.udp_status = Status::ok();
  world.send("a.example");
  world.answer(world.only());
  CHECK(world.only_reply().rcode == DnsRcode::no_error);
}

TEST_CASE("a cut answer is asked for again over TCP") {
  ForwardingWorld world;
  world.send("a.example");
  auto sent = world.only().sent[0];
  test::Message bytes(sent.data.begin(), sent.data.end());
  auto query = wire::DnsMessage::parse(bytes);
  world.only().feed(sent.to, test::to_text(test::ReplyBuilder(*query).truncated().build()));
  world.loop.run_ready();
  REQUIRE(world.net.dials.size() == 1);
  auto& server = *world.net.dials[0];
  server.connect();
  world.loop.run_ready();
  CHECK(server.sent().substr(2) == sent.data);
  auto reply = test::to_text(test::ReplyBuilder(*query).address("a.example", "192.0.2.7").build());
  std::string framed{static_cast<char>(reply.size() >> 8), static_cast<char>(reply.size())};
  for (char byte : framed + reply) {
    server.feed(std::string(1, byte));
    world.loop.run_ready();
  }
  CHECK(world.only_reply().answers == Strings{"a.example 1 192.0.2.7"});
  CHECK(server.closed());
}

}  // namespace sluice::agent
