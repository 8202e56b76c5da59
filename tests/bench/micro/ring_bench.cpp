#include <concurrentqueue/concurrentqueue.h>
#include <fmt/format.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <cstdint>
#include <stop_token>
#include <thread>

#include "link/spsc_ring.h"

namespace {

constexpr std::size_t kCapacity = 1024;
constexpr std::uint32_t kBurst = 32;
/// Many times the capacity: what waited when an iteration began hardly counts.
constexpr std::uint32_t kAcross = 64 * kCapacity;

/// What a frame ring carries.
struct Item {
  std::uint32_t number;
  std::uint32_t size;
};

class OurRing {
 public:
  static constexpr const char* kName = "SpscRing";
  bool push(Item item) { return ring_.push(item); }
  bool pop(Item& item) { return ring_.pop(item); }

 private:
  sluice::link::SpscRing<Item> ring_{kCapacity};
};

/// Unbounded by design: a count that both sides share makes it bounded, as a ring must be.
class TokenQueue {
 public:
  static constexpr const char* kName = "ConcurrentQueue";
  bool push(Item item) {
    if (used_.load(std::memory_order_acquire) >= kCapacity) return false;
    used_.fetch_add(1, std::memory_order_relaxed);
    return queue_.try_enqueue(producer_, item);
  }
  bool pop(Item& item) {
    if (!queue_.try_dequeue(consumer_, item)) return false;
    used_.fetch_sub(1, std::memory_order_release);
    return true;
  }

 private:
  moodycamel::ConcurrentQueue<Item> queue_{kCapacity * 4};
  moodycamel::ProducerToken producer_{queue_};
  moodycamel::ConsumerToken consumer_{queue_};
  std::atomic<std::size_t> used_{0};
};

template <typename Queue>
void bench_one_thread() {
  Queue queue;
  BENCHMARK(fmt::format("{} items in and out, {}", kBurst, Queue::kName)) {
    for (std::uint32_t number = 0; number < kBurst; ++number) queue.push({number, 1});
    std::uint32_t popped = 0;
    for (Item item; queue.pop(item);) popped += item.size;
    return popped;
  };
  REQUIRE(queue.push({7, 1}));
  Item item;
  REQUIRE(queue.pop(item));
  CHECK(item.number == 7);
}

/// Both as fast as they can, giving the CPU away when they can't go on.
template <typename Queue>
void bench_two_threads() {
  Queue queue;
  std::jthread producer([&queue](const std::stop_token& stop) {
    for (std::uint32_t number = 0; !stop.stop_requested();) {
      if (queue.push({number, 1})) {
        ++number;
      } else {
        std::this_thread::yield();
      }
    }
  });
  std::uint32_t expected = 0, wrong = 0;
  BENCHMARK(fmt::format("{} items across, {}", kAcross, Queue::kName)) {
    for (std::uint32_t taken = 0; taken < kAcross;) {
      Item item;
      if (queue.pop(item)) {
        wrong += item.number != expected++;
        ++taken;
      } else {
        std::this_thread::yield();
      }
    }
  };
  CHECK(wrong == 0);
}

}  // namespace

TEST_CASE("items through a queue of 1024 on one thread", "[ring]") {
  bench_one_thread<OurRing>();
  bench_one_thread<TokenQueue>();
}

TEST_CASE("items through a queue of 1024 from one thread to another", "[ring]") {
  bench_two_threads<OurRing>();
  bench_two_threads<TokenQueue>();
}
