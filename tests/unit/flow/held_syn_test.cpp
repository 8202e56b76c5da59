#include <catch2/catch.hpp>
#include <cerrno>

#include "flow/relay_world.h"
#include "wire/icmp.h"

using namespace sluice;
using namespace sluice::test;
using namespace std::chrono_literals;

namespace {

const Endpoint kRemote{IpAddress::v4(198, 51, 100, 7), Port(443)};

Endpoint guest(std::uint16_t port = 40000) {
  return {IpAddress::v4(192, 168, 127, 2), Port(port)};
}

const GuestSegment kOpen{.sequence = 1000, .flags = kSyn, .options = {2, 4, 5, 180}};

void syn(RelayWorld& world, const Endpoint& from = guest(), const Endpoint& to = kRemote) {
  world.input(from, to, kOpen);
  world.settle();
}

}  // namespace

TEST_CASE("the guest hears nothing until the host has connected") {
  RelayWorld world;
  syn(world);
  REQUIRE(world.net.dials.size() == 1);
  CHECK(world.port.seen.empty());
  CHECK(world.relay->counters().held_syns == 1);
  world.net.dials[0]->connect();
  world.settle();
  REQUIRE(world.port.seen.size() == 1);
  CHECK(world.port.seen[0].flags.bits == (kSyn | kAck));
  CHECK(world.port.seen[0].source == kRemote);
  CHECK(world.port.seen[0].destination == guest());
  CHECK(world.port.seen[0].acknowledgment == 1001);
  CHECK(world.relay->counters().held_syns == 0);
}

TEST_CASE("what a server says as soon as it has connected reaches the guest") {
  RelayWorld world;
  syn(world);
  world.net.dials[0]->connect();
  world.net.dials[0]->feed("220 ready\r\n");
  world.settle();
  std::uint32_t first = world.port.take().at(0).sequence + 1;
  world.input(guest(), kRemote, {.sequence = 1001, .acknowledgment = first, .flags = kAck});
  world.settle();
  CHECK(world.port.stream(first) == "220 ready\r\n");
}

TEST_CASE("a destination that refuses is a RST to the guest") {
  RelayWorld world;
  syn(world);
  world.net.dials[0]->refuse(ECONNREFUSED);
  world.settle();
  REQUIRE(world.port.seen.size() == 1);
  CHECK(world.port.seen[0].flags.rst());
  CHECK(world.port.seen[0].acknowledgment == 1001);
  CHECK(world.output.packets.empty());
  CHECK(world.relay->counters().flows == 0);
  CHECK(world.relay->counters().dial_refused == 1);
}

TEST_CASE("a destination that can't be reached is an ICMP error to the guest") {
  RelayWorld world;
  syn(world);
  world.net.dials[0]->refuse(EHOSTUNREACH);
  world.settle();
  CHECK(world.port.seen.empty());
  REQUIRE(world.output.packets.size() == 1);
  auto packet = wire::Packet::parse(world.output.packets[0]);
  REQUIRE(packet);
  CHECK(packet->protocol() == wire::IpProtocol::icmp);
  CHECK(packet->payload()[0] == 3);
  CHECK(packet->payload()[1] == 1);
  CHECK(world.relay->counters().flows == 0);
}

TEST_CASE("the next address is tried where one refuses") {
  RelayWorld world;
  Endpoint second{IpAddress::loopback(Family::v4), Port(8443)};
  world.gate.tcp = [&](const Endpoint& to) {
    flow::TcpRoute route;
    route.kind = flow::TcpRoute::Kind::dial;
    route.addresses = {to, second};
    return route;
  };
  syn(world);
  world.net.dials[0]->refuse(ECONNREFUSED);
  world.settle();
  REQUIRE(world.net.dials.size() == 2);
  CHECK(world.net.dials[1]->remote == second);
  CHECK(world.port.seen.empty());
  world.net.dials[1]->connect();
  world.settle();
  CHECK(world.port.count(kSyn | kAck) == 1);
}

TEST_CASE("a repeated SYN joins the held one") {
  RelayWorld world;
  syn(world);
  syn(world);
  CHECK(world.net.dials.size() == 1);
  CHECK(world.relay->counters().held_syns == 1);
}

TEST_CASE("a guest that resets its SYN may send another in the same batch") {
  RelayWorld world;
  world.input(guest(), kRemote, kOpen);
  world.input(guest(), kRemote, {.sequence = 1001, .flags = kRst});
  world.input(guest(), kRemote, kOpen);
  world.settle();
  REQUIRE(world.net.dials.size() == 2);
  CHECK(world.net.dials[0]->closed());
  CHECK(world.relay->counters().flows == 1);
  CHECK(world.relay->counters().held_syns == 1);
  world.net.dials[1]->connect();
  world.settle();
  CHECK(world.port.count(kSyn | kAck) == 1);
}

TEST_CASE("an abandoned SYN is forgotten") {
  RelayWorld world;
  syn(world);
  world.pass(6s);
  CHECK(world.relay->counters().flows == 1);
  world.pass(2s);
  CHECK(world.relay->counters().flows == 0);
  CHECK(world.net.dials[0]->closed());
  CHECK(world.port.seen.empty());
}

TEST_CASE("a SYN that is still repeated is not forgotten") {
  RelayWorld world;
  for (auto gap : {0s, 1s, 2s, 4s, 8s}) {
    world.pass(gap);
    syn(world);
  }
  world.pass(15s);
  CHECK(world.relay->counters().flows == 1);
  CHECK(world.net.dials.size() == 1);
}

TEST_CASE("past the limit of held SYNs the oldest is refused") {
  flow::TcpLimits limits;
  limits.held_syns = 2;
  RelayWorld world(limits);
  for (std::uint16_t i = 0; i < 2; ++i) syn(world, guest(static_cast<std::uint16_t>(1000 + i)));
  CHECK(world.port.seen.empty());
  syn(world, guest(1002));
  REQUIRE(world.port.seen.size() == 1);
  CHECK(world.port.seen[0].flags.rst());
  CHECK(world.port.seen[0].destination == guest(1000));
  CHECK(world.relay->counters().held_syns == 2);
  CHECK(world.relay->counters().limit_held == 1);
}

TEST_CASE("past the limit for one destination a new SYN is refused, for another it is not") {
  flow::TcpLimits limits;
  limits.held_per_destination = 1;
  RelayWorld world(limits);
  syn(world, guest(1000));
  syn(world, guest(1001));
  REQUIRE(world.port.seen.size() == 1);
  CHECK(world.port.seen[0].destination == guest(1001));
  CHECK(world.port.seen[0].flags.rst());
  syn(world, guest(1002), {kRemote.address, Port(80)});
  CHECK(world.relay->counters().held_syns == 2);
  CHECK(world.relay->counters().limit_destination == 1);
}

TEST_CASE("past the limit of flows a SYN is refused and no flow suffers") {
  flow::TcpLimits limits;
  limits.flows = 1;
  RelayWorld world(limits);
  syn(world, guest(1000));
  syn(world, guest(1001));
  REQUIRE(world.port.seen.size() == 1);
  CHECK(world.port.seen[0].destination == guest(1001));
  CHECK(world.relay->counters().flows == 1);
  CHECK(world.relay->counters().limit_flows == 1);
  CHECK_FALSE(world.net.dials[0]->closed());
}

TEST_CASE("what the policy denies is refused, dropped or prohibited as it says") {
  RelayWorld world;
  flow::TcpRoute::Kind kind = flow::TcpRoute::Kind::refuse;
  world.gate.tcp = [&](const Endpoint&) {
    flow::TcpRoute route;
    route.kind = kind;
    return route;
  };
  syn(world);
  CHECK(world.port.count(kRst) == 1);
  kind = flow::TcpRoute::Kind::drop;
  syn(world);
  CHECK(world.port.seen.size() == 1);
  CHECK(world.output.packets.empty());
  kind = flow::TcpRoute::Kind::prohibit;
  syn(world);
  REQUIRE(world.output.packets.size() == 1);
  auto packet = wire::Packet::parse(world.output.packets[0]);
  REQUIRE(packet);
  CHECK(packet->payload()[0] == 3);
  CHECK(packet->payload()[1] == 13);
  CHECK(world.net.dials.empty());
  CHECK(world.relay->counters().refused_by_policy == 3);
}
