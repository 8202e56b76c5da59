#include "link/wake.h"

#include <poll.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <random>
#include <thread>

#include "link/spsc_ring.h"

using namespace sluice;
using namespace sluice::link;

namespace {

bool readable(int fd, int timeout_ms = 0) {
  pollfd item{.fd = fd, .events = POLLIN, .revents = 0};
  return ::poll(&item, 1, timeout_ms) == 1;
}

constexpr int kLostMs = 10'000;

}  // namespace

TEST_CASE("a doorbell is readable after any number of rings, and silent once cleared") {
  Doorbell bell = std::move(Doorbell::create(GENERATE(WakeKind::eventfd, WakeKind::pipe)).value());
  CHECK_FALSE(readable(bell.fd()));
  int rings = GENERATE(1, 3, 100'000);
  for (int i = 0; i < rings; ++i) bell.ring();
  CHECK(readable(bell.fd()));
  bell.clear();
  CHECK_FALSE(readable(bell.fd()));
  bell.ring();
  CHECK(readable(bell.fd()));
}

TEST_CASE("a notifier is told to ring once for each time the waiter armed") {
  ArmFlag flag;
  CHECK_FALSE(flag.take());
  flag.arm();
  CHECK(flag.take());
  CHECK_FALSE(flag.take());
  flag.arm();
  flag.disarm();
  CHECK_FALSE(flag.take());
}

TEST_CASE("no wake is lost in many hand-overs at the edge of sleep") {
  // The ring holds one item, so each hand-over is a race of one side falling asleep against the
  // other making progress, in both directions. A lost wake stops everything.
  WakeKind kind = GENERATE(WakeKind::eventfd, WakeKind::pipe);
  constexpr std::uint32_t kHandOvers = 400'000;
  SpscRing<std::uint32_t> ring(1);
  ArmFlag wants_items, wants_room;
  Doorbell items = std::move(Doorbell::create(kind).value());
  Doorbell room = std::move(Doorbell::create(kind).value());
  std::atomic<int> lost{0};

  auto sleep_on = [&](Doorbell& bell, ArmFlag& flag) {
    if (!readable(bell.fd(), kLostMs)) ++lost;
    bell.clear();
    flag.disarm();
  };
  auto stagger = [](std::minstd_rand& random) {
    for (auto n = random() % 64; n > 0; --n) std::atomic_signal_fence(std::memory_order_seq_cst);
  };
  std::thread producer([&] {
    std::minstd_rand random(1);
    for (std::uint32_t i = 0; i < kHandOvers && lost == 0;) {
      stagger(random);
      if (ring.push(i)) {
        ++i;
        if (wants_items.take()) items.ring();
        continue;
      }
      wants_room.arm();
      if (ring.has_room(1)) {
        wants_room.disarm();
      } else {
        sleep_on(room, wants_room);
      }
    }
  });
  std::minstd_rand random(2);
  std::uint32_t wrong = 0;
  for (std::uint32_t i = 0; i < kHandOvers && lost == 0;) {
    stagger(random);
    std::uint32_t item = 0;
    if (ring.pop(item)) {
      wrong += item != i;
      ++i;
      if (wants_room.take()) room.ring();
      continue;
    }
    wants_items.arm();
    if (ring.available() > 0) {
      wants_items.disarm();
    } else {
      sleep_on(items, wants_items);
    }
  }
  producer.join();
  CHECK(lost == 0);
  CHECK(wrong == 0);
}
