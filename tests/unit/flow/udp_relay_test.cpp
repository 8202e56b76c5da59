#include <catch2/catch.hpp>
#include <cerrno>

#include "flow/datagram_world.h"
#include "wire/hello_builder.h"
#include "wire/quic_seal.h"

using namespace sluice;
using namespace sluice::test;
using namespace std::chrono_literals;

namespace {

const Endpoint kGuest = at("192.168.127.2:5000");
const Endpoint kServer = at("198.51.100.7:53");
const Endpoint kOther = at("198.51.100.8:53");

Endpoint guest(int i) {
  return {kGuest.address, Port(static_cast<std::uint16_t>(10000 + i))};
}
Endpoint server(int i) {
  return {kServer.address, Port(static_cast<std::uint16_t>(10000 + i))};
}

SocketError icmp_from(std::string_view offender, int error, std::uint8_t type, std::uint8_t code) {
  SocketError out;
  out.error = error;
  out.destination = kServer;
  out.offender = ip(offender);
  out.icmp_type = type;
  out.icmp_code = code;
  out.payload = {'h', 'i'};
  return out;
}

}  // namespace

TEST_CASE("all that the guest sends from one port leaves from one host socket") {
  DatagramWorld world;
  world.send(kGuest, kServer, "one");
  world.send(kGuest, kOther, "two");
  REQUIRE(world.net.datagrams.size() == 1);
  const auto& sent = world.net.datagrams[0]->sent;
  REQUIRE(sent.size() == 2);
  CHECK(sent[0].to == kServer);
  CHECK(sent[0].data == "one");
  CHECK(sent[1].to == kOther);
  CHECK(sent[1].data == "two");
  world.send(guest(1), kServer, "three");
  CHECK(world.net.datagrams.size() == 2);
  CHECK(world.udp.counters().mappings == 2);
  CHECK(world.live_buffers == 0);
}

TEST_CASE("an answer reaches the guest from whom it sent to") {
  DatagramWorld world;
  world.send(kGuest, kServer, "question");
  world.net.datagrams[0]->feed(kServer, "answer");
  world.settle();
  CHECK(datagrams_in(world.output) == std::vector<SeenDatagram>{{kServer, kGuest, "answer"}});
}

TEST_CASE("an answer comes from the address that the guest knows, not from the host's") {
  DatagramWorld world;
  const Endpoint gateway = at("192.168.127.1:53"), host = at("127.0.0.1:53");
  world.gate.udp = [&](const Endpoint&) {
    return flow::UdpRoute{flow::UdpRoute::Kind::send, host};
  };
  world.send(kGuest, gateway, "question");
  CHECK(world.net.datagrams[0]->sent.at(0).to == host);
  world.net.datagrams[0]->feed(host, "answer");
  world.settle();
  CHECK(datagrams_in(world.output) == std::vector<SeenDatagram>{{gateway, kGuest, "answer"}});
}

TEST_CASE("a datagram of somebody that the guest never sent to does not reach it") {
  DatagramWorld world;
  world.send(kGuest, kServer, "question");
  world.net.datagrams[0]->feed(kOther, "spoof");
  world.net.datagrams[0]->feed({kServer.address, Port(54)}, "other port");
  world.settle();
  CHECK(world.output.packets.empty());
  CHECK(world.udp.counters().filtered == 2);
}

TEST_CASE("a full cone lets anybody answer, but not the host's loopback") {
  flow::UdpLimits limits;
  limits.filter = flow::UdpFilter::full_cone;
  DatagramWorld world(limits);
  world.send(kGuest, kServer, "question");
  world.net.datagrams[0]->feed(kOther, "peer");
  world.net.datagrams[0]->feed(at("127.0.0.1:9"), "loopback");
  world.settle();
  CHECK(datagrams_in(world.output) == std::vector<SeenDatagram>{{kOther, kGuest, "peer"}});
}

TEST_CASE("a mapping without an answer ends after 30 s, one with an answer after 180 s") {
  DatagramWorld world;
  world.send(guest(0), kServer, "question");
  world.send(guest(1), kServer, "question");
  world.net.datagrams[1]->feed(kServer, "answer");
  world.settle();
  world.pass(29s);
  CHECK(world.udp.counters().mappings == 2);
  world.pass(6s);
  CHECK(world.udp.counters().mappings == 1);
  CHECK(world.net.datagrams[0]->closed());
  world.pass(144s);
  CHECK(world.udp.counters().mappings == 1);
  world.pass(6s);
  CHECK(world.udp.counters().mappings == 0);
  CHECK(world.net.datagrams[1]->closed());
  CHECK(world.loop.active_timers() == 0);
}

TEST_CASE("traffic in either direction keeps a mapping") {
  DatagramWorld world;
  world.send(kGuest, kServer, "question");
  for (int i = 0; i < 10; ++i) {
    world.pass(25s);
    world.send(kGuest, kServer, "again");
  }
  CHECK(world.net.datagrams.size() == 1);
  for (int i = 0; i < 4; ++i) {
    world.net.datagrams[0]->feed(kServer, "news");
    world.settle();
    world.pass(170s);
  }
  CHECK(world.net.datagrams.size() == 1);
  CHECK(world.udp.counters().mappings == 1);
}

TEST_CASE("past the limit of mappings the one that was idle longest goes") {
  flow::UdpLimits limits;
  limits.sockets = 3;
  DatagramWorld world(limits);
  for (int i = 0; i < 3; ++i) world.send(guest(i), kServer, "x");
  world.send(guest(0), kServer, "again");
  CHECK(world.udp.counters().evicted == 0);
  world.send(guest(3), kServer, "x");
  CHECK(world.udp.counters().mappings == 3);
  CHECK(world.udp.counters().evicted == 1);
  CHECK_FALSE(world.net.datagrams[0]->closed());
  CHECK(world.net.datagrams[1]->closed());
}

TEST_CASE("a burst of more mappings than the limit in one batch still sends each datagram") {
  flow::UdpLimits limits;
  limits.sockets = 2;
  DatagramWorld world(limits);
  for (int i = 0; i < 10; ++i) world.give(guest(i), kServer, "x");
  world.settle();
  CHECK(world.udp.counters().mappings == 2);
  CHECK(world.udp.counters().to_host == 2);
  CHECK(world.udp.counters().evicted == 8);
  CHECK(world.live_buffers == 0);
}

TEST_CASE("past the limit of destinations the one that was idle longest is forgotten") {
  flow::UdpLimits limits;
  limits.destinations = 2;
  DatagramWorld world(limits);
  for (int i = 0; i < 3; ++i) {
    world.send(kGuest, server(i), "x");
    world.pass(1s);
  }
  for (int i = 0; i < 3; ++i) world.net.datagrams[0]->feed(server(i), "answer");
  world.settle();
  auto seen = datagrams_in(world.output);
  REQUIRE(seen.size() == 2);
  CHECK(seen[0].from == server(1));
  CHECK(seen[1].from == server(2));
  CHECK(world.udp.counters().filtered == 1);
}

TEST_CASE("datagrams wait for a full socket and leave in order") {
  DatagramWorld world;
  world.send(kGuest, kServer, "0");
  world.net.datagrams[0]->set_send_room(0);
  for (int i = 1; i < 5; ++i) world.send(kGuest, kServer, std::to_string(i));
  CHECK(world.net.datagrams[0]->sent.size() == 1);
  CHECK(world.live_buffers == 0);
  world.net.datagrams[0]->set_send_room(100);
  world.settle();
  std::string order;
  for (const auto& sent : world.net.datagrams[0]->sent) order += sent.data;
  CHECK(order == "01234");
}

TEST_CASE("past the limit of waiting bytes datagrams are dropped, empty ones too") {
  flow::UdpLimits limits;
  limits.queued_bytes = 1280;
  DatagramWorld world(limits);
  world.send(kGuest, kServer, "first");
  world.net.datagrams[0]->set_send_room(0);
  std::string_view data = GENERATE("", "x");
  for (int i = 0; i < 100; ++i) world.send(kGuest, kServer, data);
  auto dropped = world.udp.counters().overflow;
  CHECK(dropped >= 90);
  CHECK(dropped < 100);
  world.net.datagrams[0]->set_send_room(1000);
  world.settle();
  CHECK(world.net.datagrams[0]->sent.size() == 101 - dropped);
  // And there is room again.
  world.net.datagrams[0]->set_send_room(0);
  for (int i = 0; i < 100; ++i) world.send(kGuest, kServer, data);
  CHECK(world.udp.counters().overflow == 2 * dropped);
}

TEST_CASE("what the policy prohibits is an ICMP error, what it drops is silence") {
  DatagramWorld world;
  auto kind = flow::UdpRoute::Kind::prohibit;
  world.gate.udp = [&](const Endpoint&) { return flow::UdpRoute{kind, {}}; };
  world.send(kGuest, kServer, "x");
  auto errors = errors_in(world.output);
  REQUIRE(errors.size() == 1);
  CHECK(errors[0].error == wire::IcmpError::admin_prohibited);
  CHECK(errors[0].from == world.output.gateway_address(Family::v4));
  CHECK(errors[0].quoted_source == kGuest);
  CHECK(errors[0].quoted_destination == kServer);
  kind = flow::UdpRoute::Kind::drop;
  world.send(kGuest, kOther, "x");
  CHECK(world.output.packets.size() == 1);
  CHECK(world.udp.counters().refused_by_policy == 2);
  CHECK(world.udp.counters().to_host == 0);
}

TEST_CASE("ICMP errors to the guest are rate-limited") {
  DatagramWorld world;
  world.gate.udp = [](const Endpoint&) { return flow::UdpRoute{}; };
  for (int i = 0; i < 500; ++i) world.give(kGuest, kServer, "x");
  CHECK(world.output.packets.size() == 50);
  CHECK(world.answers.suppressed() == 450);
  world.pass(1s);
  world.give(kGuest, kServer, "x");
  CHECK(world.output.packets.size() == 51);
}

TEST_CASE("a new policy ends an open conversation in both directions") {
  DatagramWorld world;
  world.send(kGuest, kServer, "question");
  world.gate.udp = [](const Endpoint&) { return flow::UdpRoute{flow::UdpRoute::Kind::drop, {}}; };
  world.udp.judge_again(RevokedFlows::reset);
  world.net.datagrams[0]->feed(kServer, "late answer");
  world.settle();
  CHECK(world.output.packets.empty());
  world.send(kGuest, kServer, "more");
  for (const auto& socket : world.net.datagrams) CHECK(socket->sent.size() <= 1);
}

TEST_CASE("a conversation that a new policy ends takes its socket along if it was the last there") {
  DatagramWorld world;
  bool is_last = GENERATE(true, false);
  world.send(kGuest, kServer, "1");
  if (!is_last) world.send(kGuest, kOther, "1");
  world.gate.udp = [](const Endpoint& to) {
    auto kind = to == kServer ? flow::UdpRoute::Kind::prohibit : flow::UdpRoute::Kind::send;
    return flow::UdpRoute{kind, to};
  };
  // Both are in the socket already when the policy changes.
  world.net.datagrams[0]->feed(kServer, "late");
  world.net.datagrams[0]->feed(kOther, "answer");
  world.udp.judge_again(RevokedFlows::reset);
  CHECK(world.gate.ends ==
        std::vector<std::string>{"udp 1: the policy does not allow it any more"});
  CHECK(world.udp.counters().flows == (is_last ? 0 : 1));
  CHECK(world.net.open_datagrams() == (is_last ? 0 : 1));
  world.settle();
  CHECK(datagrams_in(world.output).size() == (is_last ? 0 : 1));
}

TEST_CASE("a conversation that a new policy ended is not taken for a new one as it goes on") {
  DatagramWorld world;
  auto by_name = [](const Endpoint& to) {
    flow::UdpRoute route{flow::UdpRoute::Kind::send, to};
    route.first_flight = std::make_unique<policy::DatagramFlight>(
        policy::FirstFlightOptions{}, [](const DomainName&) { return Verdict{}; });
    return route;
  };
  auto sent = [&] {
    std::size_t count = 0;
    for (const auto& socket : world.net.datagrams) count += socket->sent.size();
    return count;
  };
  world.send(kGuest, kServer, "\x40 past its hello");
  world.gate.udp = by_name;
  world.gate.unread = false;
  for (int i = 0; i < 3; ++i) {
    world.udp.judge_again(i == 1 ? RevokedFlows::keep : RevokedFlows::reset);
    CHECK(world.net.open_datagrams() == 0);
    world.send(kGuest, kServer, "\x40 past its hello");
    CHECK(sent() == 1);
  }
  CHECK(world.gate.ends.size() == 1);
  // Once its name may be, or when it has been silent, what comes is a new one.
  if (GENERATE(true, false)) {
    world.gate.unread = true;
    world.udp.judge_again(RevokedFlows::reset);
  } else {
    for (int i = 0; i < 4; ++i) world.pass(10s);
  }
  world.send(kGuest, kServer, "\x40 anew");
  CHECK(sent() == 2);
}

TEST_CASE("what was held for a name goes on once no name counts any more") {
  DatagramWorld world;
  auto by_address = world.gate.udp;
  world.gate.udp = [](const Endpoint& to) {
    flow::UdpRoute route{flow::UdpRoute::Kind::send, to};
    route.first_flight = std::make_unique<policy::DatagramFlight>(
        policy::FirstFlightOptions{}, [](const DomainName&) { return Verdict{}; });
    return route;
  };
  testing::InitialPacket packet;
  packet.payload = testing::crypto_part(testing::hello_message("good.test"), 0, 50);
  packet.payload.resize(1100);
  auto sealed = testing::seal(packet);
  std::string hello(sealed.begin(), sealed.end());
  world.send(kGuest, kServer, hello);
  REQUIRE(world.net.datagrams[0]->sent.empty());
  world.gate.udp = by_address;
  world.udp.judge_again(RevokedFlows::reset);
  world.settle();
  REQUIRE(world.net.datagrams[0]->sent.size() == 1);
  CHECK(world.net.datagrams[0]->sent[0].data == hello);
}

TEST_CASE("an open conversation can outlive the policy that allowed it, and a refused one opens") {
  DatagramWorld world;
  world.gate.udp = [](const Endpoint& remote) {
    bool is_allowed = remote == kServer;
    return is_allowed ? flow::UdpRoute{flow::UdpRoute::Kind::send, remote} : flow::UdpRoute{};
  };
  world.send(kGuest, kServer, "1");
  world.send(kGuest, kOther, "1");
  world.gate.udp = [](const Endpoint& remote) {
    bool is_allowed = remote == kOther;
    return is_allowed ? flow::UdpRoute{flow::UdpRoute::Kind::send, remote} : flow::UdpRoute{};
  };
  world.udp.judge_again(RevokedFlows::keep);
  world.send(kGuest, kServer, "2");
  world.send(kGuest, kOther, "2");
  const auto& sent = world.net.datagrams[0]->sent;
  REQUIRE(sent.size() == 3);
  CHECK(sent[1].to == kServer);
  CHECK(sent[2].to == kOther);
}

TEST_CASE("what waits for a full socket is not sent once a new policy denies it") {
  DatagramWorld world;
  world.send(kGuest, kServer, "0");
  world.send(kGuest, kOther, "1");
  auto& socket = *world.net.datagrams[0];
  socket.set_send_room(0);
  for (const char* text : {"2", "3"}) {
    world.send(kGuest, kServer, text);
    world.send(kGuest, kOther, text);
  }
  world.gate.udp = [](const Endpoint& to) {
    auto kind = to == kServer ? flow::UdpRoute::Kind::prohibit : flow::UdpRoute::Kind::send;
    return flow::UdpRoute{kind, to};
  };
  world.udp.judge_again(RevokedFlows::reset);
  socket.set_send_room(100);
  world.settle();
  std::string text;
  for (const auto& sent : socket.sent) text += (sent.to == kServer ? "s" : "o") + sent.data;
  CHECK(text == "s0o1o2o3");
}

TEST_CASE("a conversation of which nothing was read ends where names begin to count and deny it") {
  bool may_stay = GENERATE(true, false);
  DatagramWorld world;
  world.send(kGuest, kServer, "0");
  world.gate.udp = [](const Endpoint& to) {
    flow::UdpRoute route{flow::UdpRoute::Kind::send, to};
    route.first_flight = std::make_unique<policy::DatagramFlight>(
        policy::FirstFlightOptions{}, [](const DomainName&) { return Verdict{}; });
    return route;
  };
  world.gate.unread = may_stay;
  world.udp.judge_again(RevokedFlows::reset);
  world.send(kGuest, kServer, "1");
  CHECK(world.net.datagrams[0]->sent.size() == (may_stay ? 2 : 1));
}

TEST_CASE("a new policy that sends a conversation elsewhere forgets the old address") {
  DatagramWorld world;
  world.send(kGuest, kServer, "question");
  world.gate.udp = [](const Endpoint&) {
    return flow::UdpRoute{flow::UdpRoute::Kind::send, kOther};
  };
  world.udp.judge_again(RevokedFlows::reset);
  world.send(kGuest, kServer, "question");
  CHECK(world.net.datagrams[0]->sent.back().to == kOther);
  world.net.datagrams[0]->feed(kServer, "from the old one");
  world.net.datagrams[0]->feed(kOther, "from the new one");
  world.settle();
  CHECK(datagrams_in(world.output) ==
        std::vector<SeenDatagram>{{kServer, kGuest, "from the new one"}});
}

TEST_CASE("two of the guest's names for one host address may expire in any order") {
  flow::UdpLimits limits;
  limits.destinations = 1;
  DatagramWorld world(limits);
  world.gate.udp = [](const Endpoint&) {
    return flow::UdpRoute{flow::UdpRoute::Kind::send, at("127.0.0.1:53")};
  };
  world.send(kGuest, kServer, "x");
  world.send(kGuest, kOther, "x");
  world.net.datagrams[0]->feed(at("127.0.0.1:53"), "answer");
  world.settle();
  CHECK(datagrams_in(world.output) == std::vector<SeenDatagram>{{kOther, kGuest, "answer"}});
  world.pass(40s);
  world.pass(180s);
  CHECK(world.udp.counters().mappings == 0);
}

TEST_CASE("a closed port out there is a port unreachable to the guest") {
  DatagramWorld world;
  world.send(kGuest, kServer, "hi");
  world.net.datagrams[0]->feed_error(icmp_from("198.51.100.7", ECONNREFUSED, 3, 3));
  world.settle();
  auto errors = errors_in(world.output);
  REQUIRE(errors.size() == 1);
  CHECK(errors[0].error == wire::IcmpError::port_unreachable);
  CHECK(errors[0].from == kServer.address);
  CHECK(errors[0].to == kGuest.address);
  CHECK(errors[0].quoted_source == kGuest);
  CHECK(errors[0].quoted_destination == kServer);
}

TEST_CASE("a time exceeded of a router on the way is one to the guest: traceroute works") {
  DatagramWorld world;
  world.send(kGuest, kServer, "hi", 5);
  CHECK(world.net.datagrams[0]->sent.at(0).ttl == 4);
  world.net.datagrams[0]->feed_error(icmp_from("203.0.113.9", EHOSTUNREACH, 11, 0));
  world.settle();
  auto errors = errors_in(world.output);
  REQUIRE(errors.size() == 1);
  CHECK(errors[0].error == wire::IcmpError::ttl_exceeded);
  CHECK(errors[0].from == ip("203.0.113.9"));
  world.send(kGuest, kServer, "hi", 255);
  CHECK(world.net.datagrams[0]->sent.at(1).ttl == 64);
}

TEST_CASE("a path's MTU reaches the guest") {
  DatagramWorld world;
  world.send(kGuest, kServer, "hi");
  SocketError error = icmp_from("203.0.113.9", EMSGSIZE, 3, 4);
  error.mtu = 1400;
  world.net.datagrams[0]->feed_error(error);
  world.settle();
  auto errors = errors_in(world.output);
  REQUIRE(errors.size() == 1);
  CHECK(errors[0].error == wire::IcmpError::packet_too_big);
  CHECK(errors[0].value == 1400);
}

TEST_CASE("an error that the host itself reports comes from the gateway") {
  DatagramWorld world;
  world.send(kGuest, kServer, "hi");
  world.net.datagrams[0]->feed_error(icmp_from("127.0.0.1", ECONNREFUSED, 3, 3));
  world.net.datagrams[0]->fail_send(ENETUNREACH);
  world.settle();
  world.send(kGuest, kServer, "hi");
  auto errors = errors_in(world.output);
  REQUIRE(errors.size() == 2);
  CHECK(errors[0].from == world.output.gateway_address(Family::v4));
  CHECK(errors[1].from == world.output.gateway_address(Family::v4));
  CHECK(errors[1].error == wire::IcmpError::net_unreachable);
  CHECK(world.udp.counters().send_failed == 1);
}

TEST_CASE("an error about a destination that the guest never sent to is not told") {
  DatagramWorld world;
  world.send(kGuest, kOther, "hi");
  world.net.datagrams[0]->feed_error(icmp_from("198.51.100.7", ECONNREFUSED, 3, 3));
  world.settle();
  CHECK(world.output.packets.empty());
}

TEST_CASE("without a socket the guest is told, and nothing stays") {
  DatagramWorld world;
  world.net.udp_status = Status(StatusCode::exhausted, "no descriptors");
  world.send(kGuest, kServer, "hi");
  auto errors = errors_in(world.output);
  REQUIRE(errors.size() == 1);
  CHECK(errors[0].error == wire::IcmpError::host_unreachable);
  CHECK(world.udp.counters().no_socket == 1);
  CHECK(world.udp.counters().mappings == 0);
}

TEST_CASE("one busy port does not keep the others from their turn") {
  DatagramWorld world;
  world.send(guest(0), kServer, "x");
  world.send(guest(1), kServer, "x");
  for (int i = 0; i < 1000; ++i) world.net.datagrams[0]->feed(kServer, "flood");
  world.net.datagrams[1]->feed(kServer, "one");
  world.loop.run_ready();
  world.udp.run();
  auto seen = datagrams_in(world.output);
  CHECK(std::count(seen.begin(), seen.end(), SeenDatagram{kServer, guest(1), "one"}) == 1);
  CHECK(seen.size() < 1000);
  CHECK(world.udp.has_work());
  world.settle();
  CHECK(world.udp.counters().to_guest == 1001);
}

TEST_CASE("a guest that leaves ends every mapping") {
  DatagramWorld world;
  for (int i = 0; i < 10; ++i) world.give(guest(i), kServer, "x");
  world.udp.clear();
  CHECK(world.net.open_datagrams() == 0);
  CHECK(world.live_buffers == 0);
  CHECK_FALSE(world.udp.has_work());
}

TEST_CASE("IPv6 conversations are as IPv4 ones") {
  DatagramWorld world;
  Endpoint from = at("[fd00::2]:5000"), to = at("[2001:db8::7]:53");
  world.send(from, to, "question");
  CHECK(world.net.datagrams[0]->local.address == IpAddress::any(Family::v6));
  world.net.datagrams[0]->feed(to, "answer");
  world.settle();
  CHECK(datagrams_in(world.output) == std::vector<SeenDatagram>{{to, from, "answer"}});
}
