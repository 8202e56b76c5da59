#include <sys/epoll.h>
#include <sys/socket.h>

#include <array>
#include <catch2/catch.hpp>
#include <cerrno>
#include <memory>

#include "base/loop_runner.h"
#include "base/posix_source.h"
#include "base/socket_log.h"

using namespace sluice;
using namespace std::chrono_literals;
using test::SocketLog;

namespace {

/// A pair of datagram sockets, one of them watched as UDP's are: Unix's hold what is not received.
struct World {
  World() {
    std::array<int, 2> ends{};
    REQUIRE(::socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends.data()) == 0);
    near = std::make_unique<PosixSource>(runner.loop().poller(), UniqueFd(ends[0]));
    far.reset(ends[1]);
    near->set_handler(&log);
    REQUIRE(near->start(EPOLLIN).is_ok());
  }

  bool send() { return ::send(near->fd(), "datagram", 8, MSG_DONTWAIT) == 8; }
  bool receive() {
    std::array<char, 64> buffer;
    return ::recv(far.get(), buffer.data(), buffer.size(), MSG_DONTWAIT) > 0;
  }
  void fill() {
    while (send()) continue;
    REQUIRE(errno == EAGAIN);
  }
  void empty() {
    while (receive()) continue;
  }

  test::LoopRunner runner;
  SocketLog log;
  std::unique_ptr<PosixSource> near;
  UniqueFd far;
};

}  // namespace

TEST_CASE("a datagram that was received wakes nobody who did not wait for room") {
  World world;
  for (int i = 0; i < 5; ++i) {
    REQUIRE(world.send());
    REQUIRE(world.receive());
    world.runner.run_for(5ms);
  }
  CHECK(world.log.calls == 0);
}

TEST_CASE("room is reported once each time that it was waited for") {
  World world;
  for (int round = 1; round <= 3; ++round) {
    world.fill();
    world.near->await_room();
    world.near->await_room();
    world.runner.run_for(5ms);
    CHECK(world.log.calls == round - 1);
    world.empty();
    REQUIRE(world.runner.run_until([&] { return world.log.calls == round; }));
    CHECK(world.log.writable);
    CHECK_FALSE(world.log.readable);
    REQUIRE(world.send());
    world.empty();
    world.runner.run_for(5ms);
    CHECK(world.log.calls == round);
    world.log.writable = false;
  }
}

TEST_CASE("room that is there by the time it is waited for is reported") {
  World world;
  world.fill();
  world.empty();
  world.near->await_room();
  REQUIRE(world.runner.run_until([&] { return world.log.writable; }));
  CHECK(world.log.calls == 1);
}

TEST_CASE("what arrives is reported while room is waited for, and room after it") {
  World world;
  world.fill();
  world.near->await_room();
  REQUIRE(::send(world.far.get(), "answer", 6, 0) == 6);
  REQUIRE(world.runner.run_until([&] { return world.log.readable; }));
  CHECK_FALSE(world.log.writable);
  world.empty();
  REQUIRE(world.runner.run_until([&] { return world.log.writable; }));
}
