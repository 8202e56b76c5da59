// How flows show themselves while they are open, and what is said when they end.
#include <catch2/catch.hpp>
#include <optional>
#include <string>
#include <vector>

#include "flow/datagram_world.h"
#include "flow/open_flow.h"

using namespace sluice;
using namespace sluice::test;
using namespace std::chrono_literals;

namespace {

struct Seen {
  FlowId id;
  FlowState state;
  std::uint64_t tx_bytes, rx_bytes;
};

template <typename Relay>
std::vector<Seen> seen(const Relay& relay) {
  std::vector<Seen> out;
  relay.each_flow([&](const flow::FlowSight& sight) {
    out.push_back(
        {sight.record.grant.id, sight.state, sight.record.tx_bytes, sight.record.rx_bytes});
  });
  return out;
}

using Ends = std::vector<std::string>;
const Endpoint kGuest{IpAddress::v4(192, 168, 127, 2), Port(5000)};
const Endpoint kRemote{IpAddress::v4(198, 51, 100, 7), Port(53)};

}  // namespace

TEST_CASE("a connection shows its bytes each way and its state") {
  OpenFlow flow;
  flow.send("hello");
  flow.host->feed("answer");
  flow.settle();
  auto flows = seen(*flow.relay);
  REQUIRE(flows.size() == 1);
  CHECK(flows[0].state == FlowState::open);
  CHECK(flows[0].tx_bytes == 5);
  CHECK(flows[0].rx_bytes == 6);
  flow.host->feed_end();
  flow.settle();
  CHECK(seen(*flow.relay)[0].state == FlowState::closing);
}

TEST_CASE("a connection that is reset by its number is over on both sides, and said to be") {
  OpenFlow flow;
  FlowId id = seen(*flow.relay).at(0).id;
  CHECK_FALSE(flow.relay->reset_flow(id + 1));
  CHECK(flow.relay->reset_flow(id));
  flow.settle();
  CHECK(flow.port.count(kRst) == 1);
  CHECK(flow.host->was_reset());
  CHECK(flow.gate.ends == Ends{"tcp 1: the operator ended it"});
  CHECK_FALSE(flow.relay->reset_flow(id));
}

TEST_CASE("the end of a connection is said once, with who ended it") {
  SECTION("the guest resets") {
    OpenFlow flow;
    flow.send({}, kRst);
    CHECK(flow.gate.ends == Ends{"tcp 1: the guest reset it"});
  }
  SECTION("both close") {
    OpenFlow flow;
    flow.host->feed_end();
    flow.settle();
    flow.taken = 1;
    flow.send({}, kFin | kAck);
    flow.pass(180s);
    CHECK(flow.gate.ends == Ends{"tcp 1: both ends closed it"});
  }
  SECTION("the policy changes") {
    OpenFlow flow;
    flow.gate.tcp = [](const Endpoint&) { return flow::TcpRoute(); };
    flow.relay->judge_again(RevokedFlows::reset);
    CHECK(flow.gate.ends == Ends{"tcp 1: the policy does not allow it any more"});
  }
}

TEST_CASE("a connection that the host refuses ends with that") {
  RelayWorld world;
  world.input(OpenFlow::kGuest, OpenFlow::kRemote, {.sequence = 999, .flags = kSyn});
  world.settle();
  REQUIRE(seen(*world.relay).size() == 1);
  CHECK(seen(*world.relay)[0].state == FlowState::connecting);
  world.net.dials.at(0)->refuse(ECONNREFUSED);
  world.settle();
  REQUIRE(world.gate.ends.size() == 1);
  CHECK(world.gate.ends[0].find("Connection refused") != std::string::npos);
}

TEST_CASE("each destination of a UDP port is a flow, and ends when nothing moves") {
  DatagramWorld world;
  world.send(kGuest, kRemote, "12345");
  world.send(kGuest, {kRemote.address, Port(54)}, "1");
  CHECK(seen(world.udp).size() == 2);
  CHECK(world.udp.counters().flows == 2);
  for (const Seen& one : seen(world.udp)) CHECK(one.state == FlowState::unanswered);
  world.loop.advance(60s);
  world.settle();
  CHECK(seen(world.udp).empty());
  CHECK(world.udp.counters().flows == 0);
  CHECK(world.gate.ends.size() == 2);
}

TEST_CASE(
    "a UDP flow that is refused later ends, and is another one when it is let through again") {
  DatagramWorld world;
  world.send(kGuest, kRemote, "x");
  FlowId first = seen(world.udp).at(0).id;
  auto allowed = world.gate.udp;
  world.gate.udp = [](const Endpoint&) { return flow::UdpRoute(); };
  world.udp.judge_again(RevokedFlows::reset);
  CHECK(seen(world.udp).empty());
  world.send(kGuest, kRemote, "x");
  CHECK(seen(world.udp).empty());
  CHECK(world.gate.ends == Ends{"udp 1: the policy does not allow it any more"});
  world.gate.udp = allowed;
  world.udp.judge_again(RevokedFlows::reset);
  world.send(kGuest, kRemote, "x");
  CHECK(seen(world.udp).at(0).id > first);
  world.udp.judge_again(RevokedFlows::reset);
  world.send(kGuest, kRemote, "x");
  CHECK(seen(world.udp).size() == 1);
  CHECK(world.gate.ends.size() == 1);
}

TEST_CASE("an echo request is a flow until its answer is there") {
  DatagramWorld world;
  world.ping(kGuest.address, kRemote.address, 1, 1);
  auto flows = seen(world.icmp);
  REQUIRE(flows.size() == 1);
  CHECK(world.icmp.reset_flow(flows[0].id));
  CHECK(seen(world.icmp).empty());
  CHECK(world.gate.ends == Ends{"icmp 1: the operator ended it"});
}

TEST_CASE("a connection that outlives a change of the policy keeps its number") {
  OpenFlow flow;
  SECTION("it is judged again and let through") {
    flow.relay->judge_again(RevokedFlows::reset);
  }
  SECTION("it is kept whatever the policy says") {
    flow.gate.tcp = [](const Endpoint&) { return flow::TcpRoute(); };
    flow.relay->judge_again(RevokedFlows::keep);
  }
  flow.send("more");
  CHECK(seen(*flow.relay).at(0).id == 1);
  CHECK(seen(*flow.relay).at(0).tx_bytes == 4);
  CHECK(flow.gate.ends.empty());
}

TEST_CASE("a UDP flow that is kept whatever the policy says keeps its number") {
  DatagramWorld world;
  world.send(kGuest, kRemote, "1");
  world.gate.udp = [](const Endpoint&) { return flow::UdpRoute(); };
  world.udp.judge_again(RevokedFlows::keep);
  world.send(kGuest, kRemote, "23");
  REQUIRE(seen(world.udp).size() == 1);
  CHECK(seen(world.udp)[0].id == 1);
  CHECK(seen(world.udp)[0].tx_bytes == 3);
  CHECK(world.gate.ends.empty());
}

TEST_CASE("a UDP flow that still waits to be sent ends with the policy that allowed it") {
  DatagramWorld world;
  world.send(kGuest, kRemote, "1");
  world.net.datagrams[0]->set_send_room(0);
  world.send(kGuest, kRemote, "2");
  world.gate.udp = [](const Endpoint&) { return flow::UdpRoute(); };
  world.udp.judge_again(RevokedFlows::reset);
  CHECK(seen(world.udp).empty());
  CHECK(world.udp.counters().flows == 0);
  CHECK(world.gate.ends == Ends{"udp 1: the policy does not allow it any more"});
}
