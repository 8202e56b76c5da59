#include "agent/dns/dns_listener.h"

#include <catch2/catch.hpp>

#include "agent_dns/guest_dns_world.h"

namespace sluice::agent {

using test::endpoint;
using wire::DnsRcode;
using wire::DnsType;
using namespace std::chrono_literals;

namespace {

std::string framed(const test::Message& message) {
  std::string text{static_cast<char>(message.size() >> 8), static_cast<char>(message.size())};
  return text + test::to_text(message);
}

}  // namespace

TEST_CASE("an address that can't be had yet is tried again, ever later, until it can") {
  GuestDnsWorld world;
  world.net.udp_status = Status(StatusCode::unreachable, "it is not there");
  world.dns.listen({endpoint("10.5.0.1:53")});
  CHECK_FALSE(world.dns.serving());
  CHECK(world.dns.listeners()[0]->problem() == "it is not there");
  world.loop.advance(20s);
  CHECK_FALSE(world.dns.serving());
  world.net.udp_status = Status::ok();
  world.net.listen_status = Status(StatusCode::already_exists, "somebody has the TCP port");
  world.loop.advance(DnsListener::kLastRetry);
  CHECK_FALSE(world.dns.serving());
  CHECK(world.net.open_datagrams() == 0);
  world.net.listen_status = Status::ok();
  int before = world.changes;
  world.loop.advance(DnsListener::kLastRetry);
  CHECK(world.dns.serving());
  CHECK(world.changes > before);
}

TEST_CASE("errors of clients that have gone do not end a listener") {
  GuestDnsWorld world;
  REQUIRE(world.dns.registry().add(registration("c1", {"db"}, {"10.88.0.2"})));
  for (int i = 0; i < 1000; ++i) {
    world.net.datagrams[0]->feed_error({.error = ECONNREFUSED, .destination = {}});
    world.loop.run_ready();
  }
  CHECK(world.ask("db").rcode == DnsRcode::no_error);
  CHECK(world.dns.counters().rebinds == 0);
}

TEST_CASE("a reply that the kernel does not take is lost, and the next is sent") {
  GuestDnsWorld world;
  REQUIRE(world.dns.registry().add(registration("c1", {"db"}, {"10.88.0.2"})));
  world.net.datagrams[0]->fail_send(ENETUNREACH);
  world.send("db");
  CHECK(world.replies().empty());
  CHECK(world.dns.counters().replies_lost == 1);
  CHECK(world.ask("db").rcode == DnsRcode::no_error);
}

TEST_CASE("connections are served up to the limits, and those beyond are reset") {
  GuestDnsWorld world;
  auto& door = *world.net.listeners[0];
  std::vector<std::shared_ptr<test::StreamPeer>> clients;
  auto connect = [&](const std::string& from) {
    clients.push_back(door.connect(endpoint(from)));
    world.loop.run_ready();
    return clients.back();
  };
  for (std::size_t i = 0; i < DnsSessions::kMaxPerClient; ++i) {
    CHECK_FALSE(connect("10.1.0.2:1000")->closed());
  }
  CHECK(connect("10.1.0.2:1000")->was_reset());
  for (std::size_t i = DnsSessions::kMaxPerClient; i < DnsSessions::kMax; ++i) {
    CHECK_FALSE(connect(fmt::format("10.2.{}.2:1000", i))->closed());
  }
  CHECK(connect("10.3.0.2:1000")->was_reset());
  CHECK(world.dns.counters().sessions_refused == 2);
  clients[0]->feed_end();
  world.loop.run_ready();
  CHECK(clients[0]->closed());
  CHECK_FALSE(connect("10.3.0.2:1000")->closed());
  // Those who say nothing don't keep their place.
  world.loop.advance(DnsSession::kIdle);
  CHECK(world.dns.sessions() == 0);
}

TEST_CASE("a connection has so many queries open, and the rest is read as they are answered") {
  GuestDnsWorld world;
  world.dns.forwarder().set_servers({endpoint("10.0.2.1:53")});
  auto client = world.net.listeners[0]->connect(endpoint("10.1.0.2:1000"));
  for (std::size_t i = 0; i < 2 * DnsSession::kMaxOpen; ++i) {
    client->feed(framed(test::make_query(fmt::format("n{}.example", i), DnsType::a)));
  }
  world.loop.run_ready();
  CHECK(world.dns.forwarder().waiting() == DnsSession::kMaxOpen);
  world.dns.forwarder().set_servers({});
  world.loop.advance(2s);
  CHECK(world.dns.forwarder().waiting() == DnsSession::kMaxOpen);
  world.loop.advance(2s);
  CHECK(world.dns.forwarder().waiting() == 0);
}

TEST_CASE("a client that reads nothing is not answered without end") {
  GuestDnsWorld world;
  REQUIRE(world.dns.registry().add(registration("c1", {"db"}, {"10.88.0.2"})));
  auto client = world.net.listeners[0]->connect(endpoint("10.1.0.2:1000"));
  world.loop.run_ready();
  client->set_send_room(0);
  std::string queries;
  for (int i = 0; i < 20000; ++i) queries += framed(test::make_query("db", DnsType::a));
  client->feed(queries);
  world.loop.run_ready();
  CHECK(client->unread() > queries.size() / 2);
  world.loop.advance(DnsSession::kIdle);
  CHECK(client->closed());
}

TEST_CASE("a message that is no query ends its connection, and a half one does nothing") {
  GuestDnsWorld world;
  auto client = world.net.listeners[0]->connect(endpoint("10.1.0.2:1000"));
  client->feed(std::string("\0\5abcde", 7));
  world.loop.run_ready();
  CHECK(client->closed());
  auto half = world.net.listeners[0]->connect(endpoint("10.1.0.2:1000"));
  half->feed(std::string("\0\5abc", 5));
  half->feed_end();
  world.loop.run_ready();
  CHECK(half->closed());
  CHECK(half->sent().empty());
}

TEST_CASE("replies that come after their connection has gone are dropped") {
  GuestDnsWorld world;
  world.dns.forwarder().set_servers({endpoint("10.0.2.1:53")});
  auto client = world.net.listeners[0]->connect(endpoint("10.1.0.2:1000"));
  client->feed(framed(test::make_query("a.example", DnsType::a)));
  world.loop.run_ready();
  client->reset();
  world.loop.run_ready();
  CHECK(client->closed());
  world.loop.advance(4s);
  CHECK(world.dns.forwarder().waiting() == 0);
}

}  // namespace sluice::agent
