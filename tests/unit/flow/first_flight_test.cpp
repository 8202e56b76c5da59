#include <catch2/catch.hpp>
#include <string>

#include "flow/datagram_world.h"
#include "flow/judged_flow.h"
#include "wire/http2_frames.h"
#include "wire/quic_seal.h"

using namespace sluice;
using namespace sluice::test;
using namespace std::chrono_literals;
using sluice::testing::operator+;

TEST_CASE("a hello reaches the host once its name is allowed, and what follows at once") {
  Judged flow;
  std::string hello = tls_hello("good.test");
  flow.send(hello.substr(0, 30));
  CHECK(flow.host->sent().empty());
  flow.send(hello.substr(30));
  CHECK(flow.host->sent() == hello);
  CHECK(flow.live_buffers == 0);
}

TEST_CASE("a refused hello resets the host, tells the guest, and not a byte of it goes out") {
  Judged flow;
  flow.send(tls_hello("bad.test"));
  CHECK(flow.host->sent().empty());
  CHECK(flow.host->closed());
  CHECK(flow.port.stream(flow.first) == std::string("\x15\x03\x03\x00\x02\x02\x31", 7));
  REQUIRE(flow.gate.denials.size() == 1);
  CHECK(flow.gate.denials[0].name->text() == "bad.test");
  CHECK(flow.relay->counters().refused_by_name == 1);
  flow.pass(11s);
  CHECK(flow.relay->counters().flows == 0);
}

TEST_CASE("a first flight in single bytes is put together and passes whole") {
  Judged flow;
  std::string request = "GET / HTTP/1.1\r\nHost: good.test\r\nX: " + std::string(6000, 'x');
  for (char c : request) flow.send(std::string(1, c));
  CHECK(flow.host->sent().empty());
  flow.send("\r\n\r\nGET /2 HTTP/1.1\r\nHost: good.test\r\n\r\n");
  CHECK(flow.host->sent() == request + "\r\n\r\nGET /2 HTTP/1.1\r\nHost: good.test\r\n\r\n");
  CHECK(flow.live_buffers == 0);
}

TEST_CASE("what the server says is not held") {
  Judged flow;
  flow.host->feed("220 ready\r\n");
  flow.settle();
  CHECK(flow.port.stream(flow.first) == "220 ready\r\n");
}

TEST_CASE("a first flight that is not whole after five seconds is refused") {
  Judged flow;
  flow.send(tls_hello("good.test").substr(0, 40));
  flow.pass(4s);
  CHECK(flow.gate.denials.empty());
  flow.send("x");
  flow.pass(2s);
  REQUIRE(flow.gate.denials.size() == 1);
  CHECK(flow.gate.denials[0].reason == "it took too long");
  CHECK(flow.host->sent().empty());
}

TEST_CASE("a guest that ends in the midst of its first flight is refused") {
  Judged flow;
  flow.send("GET / HT");
  flow.send({}, kAck | kFin);
  REQUIRE(flow.gate.denials.size() == 1);
  CHECK(flow.host->sent().empty());
  CHECK(flow.host->closed());
}

TEST_CASE("a connection whose name a new policy denies is reset") {
  Judged flow;
  flow.send(tls_hello("good.test"));
  flow.gate.named = [](const DomainName&) { return false; };
  // TLS 1.3: a second hello could still come, so the flow is read on.
  flow.send("\x17\x03\x03\x00\x01x");
  flow.relay->judge_again(RevokedFlows::reset);
  flow.settle();
  CHECK(flow.host->closed());
  CHECK(flow.relay->counters().flows == 0);
}

TEST_CASE("what waits for a server that has ended is let go of, and the flow ends") {
  Judged flow;
  flow.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
  CHECK(flow.host->sent() == "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
  flow.send(std::string("\0\0\0\4\0\0\0\0\0", 9));
  flow.host->feed("HTTP/1.1 400 Bad Request\r\n\r\n");
  flow.host->feed_end();
  flow.settle();
  CHECK(flow.port.stream(flow.first) == "HTTP/1.1 400 Bad Request\r\n\r\n");
  CHECK(flow.host->sent().size() == 24);
  CHECK(flow.live_buffers == 0);
  flow.send({}, kAck | kFin);
  CHECK(flow.host->closed());
}

TEST_CASE("an open connection can outlive the policy that allowed it, one being dialled can't") {
  Judged flow;
  flow.send(tls_hello("good.test"));
  flow.input(at("192.168.127.2:4567"), OpenFlow::kRemote, {.sequence = 1, .flags = kSyn});
  flow.settle();
  flow.gate.named = [](const DomainName&) { return false; };
  flow.gate.tcp = [](const Endpoint&) { return flow::TcpRoute{}; };
  flow.relay->judge_again(RevokedFlows::keep);
  std::string more("\x17\x03\x03\0\1x", 6);
  flow.send(more);
  CHECK_FALSE(flow.host->closed());
  CHECK(flow.host->sent().ends_with(more));
  CHECK(flow.net.dials.at(1)->closed());
}

TEST_CASE("an HTTP/2 connection is reset once one of its names is denied") {
  Judged flow;
  std::string stream = text(testing::http2::begin() + testing::http2::get(1, "good.test") +
                            testing::http2::get(3, "good.test"));
  flow.host->feed(text(testing::http2::frame(testing::http2::kSettings, 0, 0)));
  flow.settle();
  flow.send(stream);
  CHECK(flow.host->sent() == stream);
  flow.relay->judge_again(RevokedFlows::reset);
  flow.settle();
  CHECK_FALSE(flow.host->closed());
  flow.gate.named = [](const DomainName&) { return false; };
  flow.relay->judge_again(RevokedFlows::reset);
  flow.settle();
  CHECK(flow.host->closed());
}

TEST_CASE("a connection of which nothing was read ends where names begin to count and deny it") {
  bool may_stay = GENERATE(true, false);
  OpenFlow flow;
  flow.send("who knows what for");
  flow.gate.tcp = judged();
  flow.gate.unread = may_stay;
  flow.relay->judge_again(RevokedFlows::reset);
  flow.settle();
  CHECK(flow.host->closed() == !may_stay);
}

TEST_CASE("a connection that was read and names nobody outlives a change of the names") {
  Judged flow;
  flow.send("\1in its own words");
  flow.gate.unread = false;
  flow.relay->judge_again(RevokedFlows::reset);
  flow.settle();
  CHECK_FALSE(flow.host->closed());
}

TEST_CASE("a connection that waits for its host is read if names count by then") {
  RelayWorld flow;
  flow.input(OpenFlow::kGuest, OpenFlow::kRemote,
             {.sequence = 999, .flags = kSyn, .options = {2, 4, 5, 180}});
  flow.settle();
  flow.gate.tcp = judged();
  flow.relay->judge_again(RevokedFlows::reset);
  auto host = flow.net.dials.at(0);
  host->connect();
  flow.settle();
  std::uint32_t first = flow.port.take().at(0).sequence + 1;
  std::string hello = tls_hello("bad.test");
  flow.input(OpenFlow::kGuest, OpenFlow::kRemote,
             {.sequence = 1000, .acknowledgment = first, .flags = kAck, .payload = hello});
  flow.settle();
  CHECK(host->sent().empty());
  CHECK(flow.gate.denials.size() == 1);
}

TEST_CASE("a QUIC hello is held until it is whole, then leaves in order") {
  DatagramWorld world;
  Endpoint guest = at("192.168.127.2:5000"), remote = at("198.51.100.7:443");
  world.gate.udp = judged_datagrams();
  auto hello = testing::hello_message("good.test");
  std::string one = initial(testing::crypto_part(hello, 0, 50), 0);
  std::string two = initial(testing::crypto_part(hello, 50, hello.size()), 1);
  world.send(guest, remote, one);
  const auto& sent = world.net.datagrams.at(0)->sent;
  CHECK(sent.empty());
  world.send(guest, remote, two);
  REQUIRE(sent.size() == 2);
  CHECK(sent[0].data == one);
  CHECK(sent[1].data == two);
  world.send(guest, remote,
             initial(testing::crypto_frame(0, testing::hello_message("bad.test")), 9));
  CHECK(sent.size() == 2);
  CHECK(errors_in(world.output).size() == 1);
  CHECK(world.gate.denials.size() == 1);
}

TEST_CASE("parts of QUIC hellos that never become whole are bounded, and given up") {
  DatagramWorld world({.held_datagrams = 4});
  Endpoint guest = at("192.168.127.2:5000"), remote = at("198.51.100.7:443");
  world.gate.udp = judged_datagrams();
  for (std::uint64_t i = 0; i < 6; ++i) {
    testing::InitialPacket packet;
    packet.payload = testing::crypto_frame(20 * (i + 1), testing::Message(20, 7));
    packet.payload.resize(1100);
    packet.number = i;
    world.send(guest, remote, text(testing::seal(packet)));
  }
  CHECK(world.udp.counters().overflow == 2);
  world.pass(11s);
  CHECK(world.net.datagrams.at(0)->sent.empty());
  REQUIRE(world.gate.denials.size() == 1);
  CHECK(world.gate.denials[0].reason == "it took too long");
}
