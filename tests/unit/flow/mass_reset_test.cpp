#include <catch2/catch.hpp>
#include <ctime>

#include "flow/relay_world.h"

using namespace sluice;
using namespace sluice::test;

namespace {

constexpr std::size_t kFlows = 16384;
const Endpoint kRemote{IpAddress::v4(198, 51, 100, 7), Port(443)};

Endpoint guest(std::size_t i) {
  return {IpAddress::v4(192, 168, 127, 2), Port(static_cast<std::uint16_t>(1000 + i))};
}

double cpu_seconds() {
  return static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
}

}  // namespace

TEST_CASE("16384 flows are reset at once, in less time than it took to open them") {
  flow::TcpLimits limits;
  limits.held_per_destination = kFlows;
  limits.held_syns = kFlows;
  RelayWorld world(limits);
  double start = cpu_seconds();
  world.net.on_dial = [](StreamPeer& peer) { peer.connect(); };
  for (std::size_t i = 0; i < kFlows; ++i) {
    world.input(guest(i), kRemote, {.sequence = 1, .flags = kSyn});
  }
  world.settle();
  REQUIRE(world.relay->counters().flows == kFlows);
  // What waits for the port and what changed is searched for none of them.
  world.port.full = true;
  for (std::size_t i = 0; i < kFlows; ++i) {
    std::uint32_t acknowledged = world.port.seen[i].sequence + 1;
    world.input(world.port.seen[i].destination, kRemote,
                {.sequence = 2, .acknowledgment = acknowledged, .payload = "hello"});
  }
  world.relay->run();
  for (const auto& host : world.net.dials) host->feed("hello");
  world.loop.run_ready();
  double opened = cpu_seconds();
  REQUIRE(world.relay->has_work());
  world.relay->reset_all();
  double reset = cpu_seconds();
  CHECK(reset - opened < opened - start);
  CHECK(world.relay->counters().flows == 0);
  CHECK_FALSE(world.relay->has_work());
  CHECK(world.engine->counters().memory_bytes == 0);
  CHECK(world.net.open_streams() == 0);
  CHECK(world.live_buffers == 0);
}
