#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <vector>

#include "core/engine_world.h"
#include "flow/relay_world.h"
#include "micro/scattered.h"
#include "wire/ethernet.h"

using namespace sluice;
using namespace sluice::test;

namespace {

constexpr std::size_t kMostFlows = 65536;
constexpr std::size_t kMemory = std::size_t{8} << 30;
const std::size_t kFlowsOfPort = flow::UdpLimits().destinations;

const Endpoint kServer = endpoint("198.51.100.7:443");

Endpoint guest_end(std::size_t flow) {
  return {ip("192.168.127.2"), Port(static_cast<std::uint16_t>(1024 + flow))};
}

using Frame = std::vector<std::uint8_t>;

/// A Network of which a guest's frames find flows that are open already.
struct FrameWorld : EngineWorld {
  FrameWorld() : EngineWorld(config()) {
    net.on_dial = [](StreamPeer& peer) { peer.connect(); };
  }

  /// Opens a flow, and returns a frame of it that changes nothing, however often it comes: an
  /// acknowledgment of what was acknowledged.
  Frame open_tcp(std::size_t flow) {
    send_tcp(guest_end(flow), kServer, kSyn, 1);
    auto answers = segments();
    REQUIRE(answers.size() == 1);
    Frame frame = tcp_frame(guest_end(flow), kServer, kAck, 2, answers[0].sequence + 1);
    nic->give(frame);
    settle();
    return frame;
  }

  /// Likewise, a datagram of one byte; a port of the guest's has as many flows as it may.
  Frame open_udp(std::size_t flow) {
    Endpoint to{kServer.address, Port(static_cast<std::uint16_t>(1024 + flow % kFlowsOfPort))};
    Frame frame = udp_frame(guest_end(flow / kFlowsOfPort), to, "x");
    nic->give(frame);
    settle();
    REQUIRE(udp_socket(flow).sent.back().to == to);
    return frame;
  }
  DatagramPeer& udp_socket(std::size_t flow) { return *net.datagrams.at(flow / kFlowsOfPort); }

 private:
  static NetworkConfig config() {
    auto config = with_rules("allow@any");
    config.max_flows = kMostFlows;
    config.memory_bytes = kMemory;
    return config;
  }
};

void bench_lookup(std::size_t count) {
  flow::TcpLimits limits;
  limits.flows = limits.held_syns = limits.held_per_destination = kMostFlows;
  RelayWorld world(limits, {.memory_budget = kMemory});
  world.net.on_dial = [](StreamPeer& peer) { peer.connect(); };
  std::vector<flow::FlowKey> keys;
  for (std::size_t flow = 0; flow < count; ++flow) {
    keys.push_back({guest_end(flow), kServer});
    world.input(guest_end(flow), kServer, {.sequence = 1, .flags = kSyn});
  }
  world.settle();
  REQUIRE(world.relay->counters().flows == count);
  bench::Scattered order(count);
  BENCHMARK(fmt::format("find one of {} TCP flows", count)) {
    return world.relay->exists(keys[order.next()]);
  };
}

void bench_tcp_frames(std::size_t count) {
  FrameWorld world;
  std::vector<Frame> frames;
  for (std::size_t flow = 0; flow < count; ++flow) frames.push_back(world.open_tcp(flow));
  REQUIRE(world.engine->counters().tcp_flows == count);
  bench::Scattered order(count);
  BENCHMARK(fmt::format("frame to one of {} TCP flows", count)) {
    world.nic->give(frames[order.next()]);
  };
  CHECK(world.nic->frames.empty());
}

void bench_udp_frames(std::size_t count) {
  FrameWorld world;
  std::vector<Frame> frames;
  for (std::size_t flow = 0; flow < count; ++flow) frames.push_back(world.open_udp(flow));
  REQUIRE(world.engine->counters().udp_flows == count);
  bench::Scattered order(count);
  BENCHMARK(fmt::format("frame to one of {} UDP flows", count)) {
    std::size_t flow = order.next();
    world.nic->give(frames[flow]);
    world.udp_socket(flow).sent.clear();
  };
  CHECK(world.nic->frames.empty());
}

}  // namespace

TEST_CASE("a segment's flow is looked up", "[demux]") {
  for (std::size_t flows : {1, 10'000, 50'000}) bench_lookup(flows);
}

TEST_CASE("a frame without data goes from the port to its flow's PCB", "[demux]") {
  for (std::size_t flows : {1, 10'000, 50'000}) bench_tcp_frames(flows);
}

TEST_CASE("a frame with one byte goes from the port to its flow's socket", "[demux]") {
  for (std::size_t flows : {1, 10'000, 50'000}) bench_udp_frames(flows);
}

TEST_CASE("a frame goes from the port to nowhere: what of the others is the port's", "[demux]") {
  FrameWorld world;
  Frame frame(60);
  wire::EthernetHeader{world.engine->config().mac, kGuestMac, static_cast<wire::EtherType>(0x88cc)}
      .emit(frame);
  BENCHMARK("frame of an unknown protocol") {
    world.nic->give(frame);
  };
  CHECK(world.drops("unknown_ethertype") > 0);
}
