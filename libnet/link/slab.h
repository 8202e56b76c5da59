#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "base/buffer.h"

namespace sluice::link {

/// One read: several of the largest frames, so that a fast guest costs few system calls.
inline constexpr std::size_t kSlabBytes = 512 << 10;

/// Memory that several frames from the guest are read into; each is handed on where it lies, with a
/// reference to all of it.
struct Slab : Buffer {
  /// A new one of `size` bytes, not cleared. Loop's thread.
  static BufferRef make(std::size_t size) {
    return BufferRef(std::make_unique<Slab>(size).release());
  }
  static std::uint8_t* memory(const BufferRef& slab) {
    return static_cast<Slab*>(slab.get())->bytes.get();
  }
  /// Whether no frame in it is referred to any more, so that it can be read into from the start.
  static bool is_free(const BufferRef& slab) { return slab && slab.get()->references == 1; }

  /// Makes `slab`, of which the bytes from `end` on are free, one with `room` bytes at `end`: the
  /// same one where it is free or has them, else a new one of kSlabBytes.
  static void make_room(BufferRef& slab, std::size_t& end, std::size_t room) {
    if (is_free(slab)) {
      end = 0;
    } else if (!slab || kSlabBytes - end < room) {
      slab = make(kSlabBytes);
      end = 0;
    }
  }

  explicit Slab(std::size_t bytes_in_all)
      : Buffer([](Buffer* buffer) { delete static_cast<Slab*>(buffer); }),
        size(bytes_in_all),
        bytes(std::make_unique_for_overwrite<std::uint8_t[]>(size)) {
    ReadMemory::add(size);
  }
  ~Slab() { ReadMemory::remove(size); }
  std::size_t size;
  std::unique_ptr<std::uint8_t[]> bytes;
};

}  // namespace sluice::link
