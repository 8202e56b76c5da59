#include <catch2/catch.hpp>
#include <cerrno>
#include <string>

#include "flow/relay_world.h"

using namespace sluice;
using namespace sluice::test;
using namespace std::chrono_literals;

namespace {

const Endpoint kRemote{IpAddress::v4(198, 51, 100, 7), Port(443)};
const Endpoint kGuest{IpAddress::v4(192, 168, 127, 2), Port(40000)};

/// A flow that is open on both sides.
class OpenFlow : public RelayWorld {
 public:
  OpenFlow() {
    input(kGuest, kRemote, {.sequence = 999, .flags = kSyn, .options = {2, 4, 5, 180}});
    settle();
    host = net.dials.at(0);
    host->connect();
    settle();
    first = port.take().at(0).sequence + 1;
    send({});
  }
  /// A segment in order, acknowledging `taken` bytes of the host's.
  void send(std::string_view payload, std::uint8_t flags = kAck) {
    input(kGuest, kRemote,
          {.sequence = sequence,
           .acknowledgment = first + taken,
           .flags = flags,
           .payload = payload});
    sequence += static_cast<std::uint32_t>(payload.size()) + ((flags & kFin) != 0 ? 1 : 0);
    settle();
  }
  std::string received() const { return port.stream(first); }

  std::shared_ptr<StreamPeer> host;
  std::uint32_t sequence = 1000;
  std::uint32_t first = 0;
  std::uint32_t taken = 0;
};

}  // namespace

TEST_CASE("bytes go both ways unchanged") {
  OpenFlow flow;
  flow.send("question");
  CHECK(flow.host->sent() == "question");
  std::string answer(20000, 'a');
  flow.host->feed(answer);
  flow.settle();
  CHECK(flow.received() == answer);
  CHECK(flow.live_buffers == 0);
}

TEST_CASE("segments out of order reach the host in order") {
  OpenFlow flow;
  flow.sequence += 5;
  flow.send("world");
  CHECK(flow.host->sent().empty());
  flow.sequence = 1000;
  flow.send("hello");
  CHECK(flow.host->sent() == "helloworld");
  CHECK(flow.live_buffers == 0);
}

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
