#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include <net/status.h>

#include "base/bytes.h"
#include "link/spsc_ring.h"

namespace sluice::link {

/// A frame up to this size takes a small buffer: every frame at MTU 1500 does.
inline constexpr std::size_t kSmallBuffer = 2048;
/// Holds kMaxFrame; whole pages, so that buffers share none.
inline constexpr std::size_t kLargeBuffer = 68 * 1024;

/// Frame buffers of one direction. The producing thread takes them, the consuming thread gives them
/// back in any order, lock-free through a ring of each size.
///
/// The memory is one reservation, and a buffer's pages are first touched when a frame is copied
/// into it. What came back last is taken first, and before what was never used, so that traffic
/// goes round in few buffers, which are still in the cache.
class FramePool {
 public:
  using Index = std::uint32_t;
  enum class Size : std::uint8_t { small, large };

  FramePool(std::size_t small, std::size_t large);
  ~FramePool();
  FramePool(const FramePool&) = delete;
  FramePool& operator=(const FramePool&) = delete;

  /// exhausted: the address space could not be had. To be checked once, before use.
  Status status() const;

  static Size size_for(std::size_t bytes) {
    return bytes <= kSmallBuffer ? Size::small : Size::large;
  }
  /// Producer: whether `count` buffers can be taken.
  bool has(Size size, std::size_t count);
  /// Producer.
  std::optional<Index> take(Size size);
  /// Producer: what it took and did not use.
  void untake(Index index) { of(index).free.push_back(index); }
  /// Consumer.
  void give_back(Index index);

  /// Whoever holds the buffer.
  std::uint8_t* data(Index index) const;
  std::size_t count() const { return small_.total + large_.total; }

 private:
  struct Class {
    explicit Class(std::size_t count) : total(count), returned(count) { free.reserve(count); }
    void collect();

    std::size_t total;
    SpscRing<Index> returned;
    // The producer's:
    std::size_t used = 0;     ///< How many have ever been taken.
    std::vector<Index> free;  ///< What came back of those, the last at the end.
  };
  Class& of(Size size) { return size == Size::small ? small_ : large_; }
  Class& of(Index index) { return index < small_.total ? small_ : large_; }
  std::size_t bytes() const;

  Class small_;
  Class large_;
  void* memory_ = nullptr;
};

}  // namespace sluice::link
