#include "link/spsc_ring.h"

#include <catch2/catch.hpp>
#include <cstdint>
#include <thread>

using sluice::link::SpscRing;

TEST_CASE("a ring takes as many items as its capacity and not one more") {
  SpscRing<int> ring(5);
  CHECK(ring.capacity() == 8);
  for (int i = 0; i < 8; ++i) CHECK(ring.push(i));
  CHECK_FALSE(ring.push(8));
  CHECK_FALSE(ring.has_room(1));
  int item = -1;
  CHECK(ring.pop(item));
  CHECK(item == 0);
  CHECK(ring.has_room(1));
  CHECK_FALSE(ring.has_room(2));
  CHECK(ring.push(8));
  CHECK_FALSE(ring.push(9));
  for (int i = 1; i <= 8; ++i) {
    CHECK(ring.pop(item));
    CHECK(item == i);
  }
  CHECK_FALSE(ring.pop(item));
}

TEST_CASE("a consumer sees several items before it drops them") {
  SpscRing<int> ring(8);
  for (int i = 0; i < 6; ++i) ring.push(i);
  CHECK(ring.available(4) >= 4);
  CHECK(ring.peek(0) == 0);
  CHECK(ring.peek(3) == 3);
  ring.pop(4);
  CHECK(ring.available(8) == 2);
  CHECK(ring.peek() == 4);
}

TEST_CASE("items cross between two threads whole and in order") {
  struct Item {
    std::uint64_t number, check;
  };
  constexpr std::uint64_t kItems = 100'000;
  SpscRing<Item> ring(GENERATE(1, 2, 64));
  std::thread producer([&] {
    for (std::uint64_t i = 0; i < kItems;) {
      if (ring.push({i, ~i})) {
        ++i;
      } else {
        std::this_thread::yield();
      }
    }
  });
  std::uint64_t wrong = 0;
  for (std::uint64_t i = 0; i < kItems;) {
    Item item;
    if (!ring.pop(item)) {
      std::this_thread::yield();
      continue;
    }
    wrong += item.number != i || item.check != ~i;
    ++i;
  }
  producer.join();
  CHECK(wrong == 0);
}
