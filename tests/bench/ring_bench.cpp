// Compares queues for frame hand-over between two threads: ours, moodycamel::ConcurrentQueue with
// tokens and moodycamel::ReaderWriterQueue. Each item is what a frame ring carries, 8 bytes; each
// run takes 1024 items at most, as the rings do. `ring_bench [millions of items]`.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

#include <concurrentqueue/concurrentqueue.h>
#include <readerwriterqueue/readerwriterqueue.h>

#include "link/spsc_ring.h"

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kCapacity = 1024;
constexpr std::size_t kBurst = 32;

struct Item {
  std::uint32_t buffer;
  std::uint32_t size;
};

class OurRing {
 public:
  static constexpr const char* kName = "link::SpscRing";
  bool push(Item item) { return ring_.push(item); }
  bool pop(Item& item) { return ring_.pop(item); }

 private:
  sluice::link::SpscRing<Item> ring_{kCapacity};
};

/// Unbounded by design: a count that both sides share makes it bounded, as a ring must be.
class TokenQueue {
 public:
  static constexpr const char* kName = "ConcurrentQueue, tokens";
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

/// try_enqueue() does not allocate, which bounds it.
class ReaderWriter {
 public:
  static constexpr const char* kName = "ReaderWriterQueue";
  bool push(Item item) { return queue_.try_enqueue(item); }
  bool pop(Item& item) { return queue_.try_dequeue(item); }

 private:
  moodycamel::ReaderWriterQueue<Item> queue_{kCapacity};
};

double nanoseconds_each(Clock::time_point start, std::uint64_t items) {
  return std::chrono::duration<double, std::nano>(Clock::now() - start).count() /
         static_cast<double>(items);
}

/// A burst in, a burst out, on one thread: the cost of the operations alone.
template <typename Queue>
double one_thread(std::uint64_t items) {
  Queue queue;
  std::uint64_t sum = 0;
  auto start = Clock::now();
  for (std::uint64_t i = 0; i < items; i += kBurst) {
    for (std::size_t j = 0; j < kBurst; ++j) queue.push({static_cast<std::uint32_t>(i + j), 1});
    Item item;
    while (queue.pop(item)) sum += item.buffer;
  }
  double each = nanoseconds_each(start, items);
  if (sum == 0) std::abort();
  return each;
}

/// Both threads as fast as they can, giving the CPU away when they can't go on.
template <typename Queue>
double two_threads(std::uint64_t items) {
  Queue queue;
  std::atomic<bool> go{false};
  std::thread producer([&] {
    while (!go) {
    }
    for (std::uint64_t i = 0; i < items;) {
      if (queue.push({static_cast<std::uint32_t>(i), 1})) {
        ++i;
      } else {
        std::this_thread::yield();
      }
    }
  });
  auto start = Clock::now();
  go = true;
  for (std::uint64_t i = 0; i < items;) {
    Item item;
    if (!queue.pop(item)) {
      std::this_thread::yield();
    } else if (item.buffer == static_cast<std::uint32_t>(i)) {
      ++i;
    } else {
      std::abort();
    }
  }
  double each = nanoseconds_each(start, items);
  producer.join();
  return each;
}

template <typename Queue>
void measure(std::uint64_t items) {
  constexpr int kRounds = 5;
  std::vector<double> single, both;
  for (int i = 0; i < kRounds; ++i) {
    single.push_back(one_thread<Queue>(items));
    both.push_back(two_threads<Queue>(items));
  }
  std::printf("%-26s %8.1f %8.1f\n", Queue::kName, *std::min_element(single.begin(), single.end()),
              *std::min_element(both.begin(), both.end()));
}

}  // namespace

int main(int argc, char** argv) {
  std::uint64_t items = (argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 10) * 1'000'000;
  if (items == 0) return 2;
  std::printf("%-26s %8s %8s   ns an item, best of 5\n", "queue", "1 thread", "2 threads");
  measure<OurRing>(items);
  measure<TokenQueue>(items);
  measure<ReaderWriter>(items);
}
