// However a connection ends, each of its calls does, once.
#include <chrono>

#include "agent/rpc/connection.h"
#include "agent_rpc/rpc_world.h"

namespace sluice::agent::rpc {

using namespace std::chrono_literals;

namespace {

std::string conversation() {
  return frame(1, kRequest, kRemoteOpen,
               request_bytes("test.Echo", "Talk", "start", std::chrono::nanoseconds(1s).count())) +
         frame(1, kData, 0, "one") +
         frame(3, kRequest, 0, request_bytes("test.Echo", "Hold", "held")) +
         frame(5, kRequest, 0, request_bytes("test.Echo", "Say", "said")) +
         frame(1, kData, kRemoteClosed, "two") +
         frame(7, kRequest, 0, request_bytes("test.Echo", "Cancel", "\x03"));
}

}  // namespace

TEST_CASE("a peer that goes at any byte of a conversation leaves nothing") {
  std::string all = conversation();
  for (std::size_t cut = 0; cut <= all.size(); ++cut) {
    World world;
    world.send(all.substr(0, cut));
    REQUIRE(world.ends == 0);
    world.hang_up();
    REQUIRE(world.ends == 1);
    REQUIRE(world.connection == nullptr);
    REQUIRE(world.streams.empty());
    REQUIRE_FALSE(world.wire->linked);
    REQUIRE(world.loop.active_timers() == 0);
    world.loop.advance(10s);
    REQUIRE(world.ends == 1);
  }
}

TEST_CASE("a peer that sends all and goes at once leaves nothing") {
  World world;
  world.wire->peer_gone = true;
  world.send(conversation());
  CHECK(world.ends == 1);
  CHECK(world.streams.empty());
  CHECK(world.loop.active_timers() == 0);
}

TEST_CASE("a connection destroyed at any byte of a conversation leaves nothing") {
  std::string all = conversation();
  for (std::size_t cut = 0; cut <= all.size(); ++cut) {
    World world;
    world.wire->in = all.substr(0, cut);
    // Without the turn's end: deferred work is still to come.
    while (world.wire->linked && !world.wire->in.empty()) world.wire->on_ready({.readable = true});
    world.close();
    REQUIRE(world.streams.empty());
    REQUIRE(world.ends == 0);
    REQUIRE(world.loop.active_timers() == 0);
  }
}

TEST_CASE("a reset at any byte of a conversation begins anew") {
  std::string all = conversation();
  for (std::size_t cut = 0; cut <= all.size(); ++cut) {
    World world;
    world.send(all.substr(0, cut));
    world.connection->reset();
    REQUIRE(world.streams.empty());
    world.settle();
    world.replies();
    // Stream numbers begin again too.
    world.request(1, "Say", "new");
    REQUIRE(world.answer().payload == "new");
    REQUIRE(world.loop.active_timers() == 0);
  }
}

TEST_CASE("a peer that goes while answers wait for it leaves nothing") {
  World world;
  world.wire->room = 100;
  world.request(1, "Talk", "a", kRemoteOpen);
  for (int i = 0; i < 3; ++i) {
    world.streams.at(0)->call.send(bytes(std::string(kFullBytes / 2, 'x')));
  }
  world.settle();
  CHECK_FALSE(world.wire->interest.readable);
  world.hang_up();
  CHECK(world.ends == 1);
  CHECK(world.streams.empty());
}

TEST_CASE("a handler that ends its call from each of its callbacks is destroyed once") {
  World world;
  world.request(1, "Talk", "a", kRemoteOpen);
  Stream& stream = *world.streams.at(0);
  stream.on_offer = [&stream] { stream.call.finish(); };
  world.wire->room = 0;
  stream.call.send(bytes(std::string(kBusyBytes, 'x')));
  world.settle();
  world.wire->room = SIZE_MAX;
  world.settle();
  CHECK(world.streams.empty());
  CHECK(world.replies().back().flags == (kRemoteClosed | kNoData));
}

}  // namespace sluice::agent::rpc
