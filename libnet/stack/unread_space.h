#pragma once

#include <cstddef>
#include <cstdint>

namespace sluice::stack {

/// Addresses that stand for positions in a stream whose bytes nobody has read (UnreadBytes), so
/// that lwIP can queue, send and send again what is not in memory. Nothing is there: a read is a
/// fault. Streams share them, as each position is told apart by the stream that it is in.
class UnreadSpace {
 public:
  /// More than any connection has queued, so that no two of its bytes have one address.
  static constexpr std::size_t kSize = std::size_t{64} << 20;

  UnreadSpace();
  ~UnreadSpace();
  UnreadSpace(const UnreadSpace&) = delete;
  UnreadSpace& operator=(const UnreadSpace&) = delete;

  /// Whether the process was given the addresses.
  bool exists() const { return begin_ != nullptr; }
  bool contains(const void* address) const {
    auto at = reinterpret_cast<std::uintptr_t>(address), begin = to_number();
    return begin_ && at >= begin && at - begin < kSize;
  }
  const std::uint8_t* address_of(std::uint64_t position) const { return begin_ + position % kSize; }
  /// Positions from that of `address` on that have addresses in a row.
  std::size_t contiguous(std::uint64_t position) const { return kSize - position % kSize; }
  /// The first position from `from` on that has this address.
  std::uint64_t position_of(const void* address, std::uint64_t from) const {
    std::uint64_t at = reinterpret_cast<std::uintptr_t>(address) - to_number();
    return from + (at + kSize - from % kSize) % kSize;
  }

 private:
  std::uintptr_t to_number() const { return reinterpret_cast<std::uintptr_t>(begin_); }

  std::uint8_t* begin_ = nullptr;
};

}  // namespace sluice::stack
