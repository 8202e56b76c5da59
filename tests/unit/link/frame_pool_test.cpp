#include "link/frame_pool.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <set>
#include <vector>

#include "link/guest_port.h"

using namespace sluice::link;

TEST_CASE("a pool gives each buffer once, and again when it has come back") {
  FramePool pool(4, 2);
  REQUIRE(pool.status());
  std::set<std::uint8_t*> seen;
  std::vector<FramePool::Index> taken;
  for (int i = 0; i < 4; ++i) {
    CHECK(pool.has(FramePool::Size::small, 1));
    taken.push_back(*pool.take(FramePool::Size::small));
    seen.insert(pool.data(taken.back()));
  }
  CHECK(seen.size() == 4);
  CHECK_FALSE(pool.has(FramePool::Size::small, 1));
  CHECK_FALSE(pool.take(FramePool::Size::small));
  CHECK(pool.has(FramePool::Size::large, 2));
  CHECK_FALSE(pool.has(FramePool::Size::large, 3));
  pool.give_back(taken[2]);
  CHECK(pool.has(FramePool::Size::small, 1));
  CHECK(*pool.take(FramePool::Size::small) == taken[2]);
}

TEST_CASE("light traffic goes round in few buffers") {
  FramePool pool(1024, 256);
  std::set<FramePool::Index> used;
  for (int i = 0; i < 5000; ++i) {
    auto a = *pool.take(FramePool::Size::large), b = *pool.take(FramePool::Size::large);
    used.insert({a, b});
    pool.give_back(b);
    pool.give_back(a);
  }
  CHECK(used.size() == 2);
}

TEST_CASE("buffers don't overlap and hold the longest frame") {
  FramePool pool(3, 3);
  std::vector<std::pair<std::uint8_t*, std::size_t>> areas;
  for (int i = 0; i < 3; ++i) {
    areas.push_back({pool.data(*pool.take(FramePool::Size::small)), kSmallBuffer});
    areas.push_back({pool.data(*pool.take(FramePool::Size::large)), kLargeBuffer});
  }
  std::sort(areas.begin(), areas.end());
  for (std::size_t i = 1; i < areas.size(); ++i) {
    CHECK(areas[i - 1].first + areas[i - 1].second <= areas[i].first);
  }
  CHECK(kLargeBuffer >= kMaxFrame);
}

TEST_CASE("what came back last is taken first") {
  FramePool pool(8, 0);
  std::vector<FramePool::Index> taken;
  for (int i = 0; i < 4; ++i) taken.push_back(*pool.take(FramePool::Size::small));
  pool.give_back(taken[2]);
  pool.give_back(taken[0]);
  CHECK(pool.take(FramePool::Size::small) == taken[0]);
  pool.give_back(taken[3]);
  CHECK(pool.take(FramePool::Size::small) == taken[3]);
  CHECK(pool.take(FramePool::Size::small) == taken[2]);
}
