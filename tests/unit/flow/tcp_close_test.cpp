#include <catch2/catch.hpp>
#include <cerrno>
#include <string>

#include "flow/open_flow.h"

using namespace sluice;
using namespace sluice::test;
using namespace std::chrono_literals;

namespace {

const Endpoint& kRemote = OpenFlow::kRemote;
const Endpoint& kGuest = OpenFlow::kGuest;

}  // namespace

TEST_CASE("the host's end of stream is a FIN to the guest, after the data") {
  OpenFlow flow;
  flow.host->feed("last words");
  flow.host->feed_end();
  flow.settle();
  CHECK(flow.received() == "last words");
  REQUIRE(flow.port.count(kFin) == 1);
  CHECK(flow.port.seen.back().flags.fin());
  CHECK(flow.port.count(kRst) == 0);
  // The other direction stays open.
  flow.taken = 11;
  flow.send("still here");
  CHECK(flow.host->sent() == "still here");
  CHECK_FALSE(flow.host->saw_end());
}

TEST_CASE("the guest's FIN reaches the host once the host has taken all") {
  OpenFlow flow;
  flow.host->set_send_room(4);
  flow.send("slow reader");
  flow.send({}, kFin | kAck);
  CHECK(flow.host->sent() == "slow");
  CHECK_FALSE(flow.host->saw_end());
  flow.pass(60s);
  CHECK_FALSE(flow.host->saw_end());
  flow.host->set_send_room(kUnlimited);
  flow.settle();
  CHECK(flow.host->sent() == "slow reader");
  CHECK(flow.host->saw_end());
  // And the host may go on sending.
  flow.host->feed("answer");
  flow.settle();
  CHECK(flow.received() == "answer");
}

TEST_CASE("a host that resets is a RST to the guest once it has what was sent before") {
  OpenFlow flow;
  flow.host->feed("before");
  flow.settle();
  flow.host->reset();
  flow.settle();
  CHECK(flow.received() == "before");
  CHECK(flow.port.count(kRst) == 0);
  flow.taken = 6;
  flow.send({});
  CHECK(flow.port.count(kRst) == 1);
  CHECK(flow.relay->counters().flows == 0);
}

TEST_CASE("a guest that never takes the last data of a reset connection is not waited for long") {
  OpenFlow flow;
  flow.host->feed("before");
  flow.settle();
  flow.host->reset();
  flow.pass(11s);
  CHECK(flow.relay->counters().flows == 0);
}

TEST_CASE("a host that resets after its end of stream is a RST to the guest") {
  OpenFlow flow;
  flow.host->feed_end();
  flow.settle();
  flow.taken = 1;
  flow.send("to nobody");
  CHECK(flow.port.count(kRst) == 0);
  SECTION("when the reset comes") {
    flow.host->reset();
    flow.settle();
  }
  SECTION("when the guest sends once more") {
    flow.host->reset();
    flow.send("any more");
  }
  CHECK(flow.port.count(kRst) == 1);
  CHECK(flow.relay->counters().flows == 0);
}

TEST_CASE("a host that resets while the guest takes nothing is not waited for long") {
  OpenFlow flow;
  flow.port.full = true;
  flow.host->feed(std::string(2 << 20, 'a'));
  flow.settle();
  REQUIRE(flow.host->unread() > 0);
  flow.host->reset();
  flow.pass(9s);
  CHECK(flow.relay->counters().flows == 1);
  flow.pass(2s);
  CHECK(flow.relay->counters().flows == 0);
}

TEST_CASE("a guest that vanished from a connection that both sides closed is given up") {
  OpenFlow flow;
  flow.port.full = true;
  flow.host->feed("last words");
  SECTION("the host first") {
    flow.host->feed_end();
    flow.settle();
    flow.send({}, kFin | kAck);
  }
  SECTION("the guest first") {
    flow.send({}, kFin | kAck);
    flow.host->feed_end();
    flow.settle();
  }
  flow.port.full = false;
  flow.settle();
  CHECK(flow.host->closed());
  flow.pass(25s);
  CHECK(flow.relay->counters().flows == 1);
  flow.pass(10s);
  CHECK(flow.relay->counters().flows == 0);
}

TEST_CASE("the guest's RST resets the host") {
  OpenFlow flow;
  flow.send({}, kRst | kAck);
  CHECK(flow.host->closed());
  CHECK(flow.host->was_reset());
  CHECK(flow.relay->counters().flows == 0);
  CHECK(flow.port.count(kRst) == 0);
}

TEST_CASE("a connection that both sides closed is forgotten after a while") {
  OpenFlow flow;
  flow.host->feed_end();
  flow.settle();
  flow.taken = 1;
  flow.send({}, kFin | kAck);
  CHECK(flow.host->closed());
  CHECK_FALSE(flow.host->was_reset());
  flow.pass(5s);
  CHECK(flow.relay->counters().flows == 0);
  CHECK(flow.port.count(kRst) == 0);
}

TEST_CASE("a segment of no connection is answered with RST, a RST is not") {
  RelayWorld world;
  world.input(kGuest, kRemote, {.sequence = 5, .acknowledgment = 77, .payload = "x"});
  REQUIRE(world.port.seen.size() == 1);
  CHECK(world.port.seen[0].flags.rst());
  CHECK(world.port.seen[0].sequence == 77);
  world.input(kGuest, kRemote, {.sequence = 5, .flags = kRst});
  CHECK(world.port.seen.size() == 1);
}

TEST_CASE("a connection that is over makes room for a new one where there is no other") {
  flow::TcpLimits limits;
  limits.flows = 1;
  OpenFlow flow(limits);
  flow.host->feed_end();
  flow.settle();
  flow.taken = 1;
  flow.send({}, kAck | kFin);
  REQUIRE(flow.relay->counters().flows == 1);
  Endpoint other{OpenFlow::kGuest.address, Port(40001)};
  flow.input(other, OpenFlow::kRemote, {.sequence = 5, .flags = kSyn});
  flow.settle();
  CHECK(flow.net.dials.size() == 2);
  CHECK(flow.relay->counters().limit_flows == 0);
  flow.input({OpenFlow::kGuest.address, Port(40002)}, OpenFlow::kRemote, {.flags = kSyn});
  flow.settle();
  CHECK(flow.relay->counters().limit_flows == 1);
}
