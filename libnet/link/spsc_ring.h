#pragma once

#include <atomic>
#include <bit>
#include <cstddef>
#include <memory>
#include <type_traits>

namespace sluice::link {

/// Wide enough for the pairs of lines that x86 prefetches.
inline constexpr std::size_t kCacheLine = 128;

/// A bounded queue between exactly one producing and one consuming thread, without locks or system
/// calls. T is copied.
///
/// Memory order. `tail_` counts pushes and is written by the producer alone, `head_` counts pops
/// and is written by the consumer alone; both only grow, and tail_ - head_ is in [0, capacity].
/// 1. A push writes the slot, then tail_ (release). A pop reads tail_ (acquire), then the slot: the
///    acquire reads that store or a later one of the same thread, so the slot's write happened
///    before.
/// 2. A pop reads the slot, then writes head_ (release). The push that uses the slot again first
///    reads head_ (acquire) past that pop, so the read happened before the overwrite.
/// 3. Each side keeps the last value that it read of the other's index. An old value only
///    understates what there is or what room is left, so it is refreshed only when it says "none":
///    in steady flow a side reads the other's cache line once per batch.
/// Nothing here says when to sleep; ArmFlag does.
///
/// Chosen by measurement: tests/bench/micro/ring_bench.cpp, 8-byte items, 1024 places, nanoseconds
/// for a push and a pop on a busy two-core virtual machine:
///
///                                           one thread   two threads
///     SpscRing                                     2.4           6.1
///     moodycamel::ConcurrentQueue, tokens           14            16   (made bounded by a counter)
///
/// It also does what a frame ring needs and the others don't offer: to ask for room for all
/// segments of a frame, and to look at several frames before any is dropped.
template <typename T>
class SpscRing {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  /// Holds at least `capacity` items: the next power of two. The slots are not touched.
  explicit SpscRing(std::size_t capacity)
      : mask_(std::bit_ceil(capacity < 1 ? 1 : capacity) - 1),
        slots_(std::make_unique_for_overwrite<T[]>(mask_ + 1)) {}

  std::size_t capacity() const { return mask_ + 1; }

  /// Producer: false if full.
  bool push(const T& item) {
    std::size_t tail = tail_.load(std::memory_order_relaxed);
    if (tail - known_head_ > mask_) {
      known_head_ = head_.load(std::memory_order_acquire);
      if (tail - known_head_ > mask_) return false;
    }
    slots_[tail & mask_] = item;
    tail_.store(tail + 1, std::memory_order_release);
    return true;
  }
  /// Any thread: how many items have been popped since it was made.
  std::size_t popped() const { return head_.load(std::memory_order_acquire); }
  /// Producer: whether `count` pushes would succeed.
  bool has_room(std::size_t count) {
    std::size_t tail = tail_.load(std::memory_order_relaxed);
    if (tail - known_head_ + count <= capacity()) return true;
    known_head_ = head_.load(std::memory_order_acquire);
    return tail - known_head_ + count <= capacity();
  }

  /// Consumer: how many items are there, at least `wanted` if there are that many.
  std::size_t available(std::size_t wanted = 1) {
    std::size_t head = head_.load(std::memory_order_relaxed);
    if (known_tail_ - head < wanted) known_tail_ = tail_.load(std::memory_order_acquire);
    return known_tail_ - head;
  }
  /// Consumer: the item behind `index` others. Requires available() > index.
  const T& peek(std::size_t index = 0) const {
    return slots_[(head_.load(std::memory_order_relaxed) + index) & mask_];
  }
  /// Consumer: drops the first `count` items. Requires available() >= count.
  void pop(std::size_t count = 1) {
    head_.store(head_.load(std::memory_order_relaxed) + count, std::memory_order_release);
  }
  /// Consumer: false if empty.
  bool pop(T& item) {
    if (available() == 0) return false;
    item = peek();
    pop();
    return true;
  }

 private:
  const std::size_t mask_;
  const std::unique_ptr<T[]> slots_;
  alignas(kCacheLine) std::atomic<std::size_t> tail_{0};
  std::size_t known_head_ = 0;  // the producer's
  alignas(kCacheLine) std::atomic<std::size_t> head_{0};
  std::size_t known_tail_ = 0;  // the consumer's
};

}  // namespace sluice::link
