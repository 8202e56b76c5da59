#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "base/unique_fd.h"
#include "hostd/attach/vhost_user_message.h"
#include "hostd/attach/virt_queue.h"

namespace sluice::test {

/// Where a guest's memory lies for the guest, and for its VMM.
inline constexpr std::uint64_t kGuestBase = 0x40000000, kUserBase = 0x7f0000000000;

/// A guest's memory, in a file that can be shared.
class GuestPages {
 public:
  explicit GuestPages(std::size_t size);
  ~GuestPages();
  GuestPages(const GuestPages&) = delete;
  GuestPages& operator=(const GuestPages&) = delete;

  /// Another descriptor of the file.
  UniqueFd fd() const;
  std::size_t size() const { return size_; }
  std::uint8_t* at(std::size_t offset) const { return memory_ + offset; }
  /// All of it.
  hostd::MemoryRegion region() const { return {kGuestBase, size_, kUserBase, 0}; }
  Result<hostd::GuestMemory> map() const;

  template <typename T>
  void put(std::size_t offset, T value) const {
    std::memcpy(at(offset), &value, sizeof value);
  }
  template <typename T>
  T get(std::size_t offset) const {
    T value;
    std::memcpy(&value, at(offset), sizeof value);
    return value;
  }

 private:
  UniqueFd fd_;
  std::size_t size_;
  std::uint8_t* memory_;
};

struct Piece {
  std::uint64_t address = 0;  ///< The guest's.
  std::uint32_t size = 0;
  std::uint16_t flags = 0;  ///< Without NEXT.
  std::uint16_t next = 0;
};
inline constexpr std::uint16_t kNext = 1, kWrite = 2, kIndirect = 4;

/// The driver's side of a split ring in a guest's memory, from `offset` on. It does what it is
/// told, sane or not.
class DriverRing {
 public:
  DriverRing(const GuestPages& pages, std::size_t offset, std::uint16_t size)
      : pages_(&pages), offset_(offset), size_(size) {}

  std::size_t descriptors() const { return offset_; }
  std::size_t available() const { return offset_ + 16u * size_; }
  std::size_t used() const { return (available() + 6 + 2u * size_ + 3) / 4 * 4; }
  std::size_t end() const { return used() + 6 + 8u * size_; }
  std::uint16_t size() const { return size_; }
  hostd::VirtQueue::Rings rings(const hostd::GuestMemory& memory) const;
  hostd::VringAddress address(std::uint32_t index) const;

  void describe(std::uint16_t index, const Piece& piece) const;
  /// A chain of descriptors from `first` on, made available.
  void add(std::uint16_t first, const std::vector<Piece>& pieces);
  void make_available(std::uint16_t head);
  void set_available_index(std::uint16_t index) const { pages_->put(available() + 2, index); }
  void set_flags(std::uint16_t flags) const { pages_->put(available(), flags); }
  void set_used_event(std::uint16_t index) const {
    pages_->put(available() + 4 + 2u * size_, index);
  }
  std::uint16_t used_index() const { return pages_->get<std::uint16_t>(used() + 2); }
  std::uint16_t used_flags() const { return pages_->get<std::uint16_t>(used()); }
  std::uint16_t available_event() const {
    return pages_->get<std::uint16_t>(used() + 4 + 8u * size_);
  }
  /// Chain and bytes of a used entry.
  std::pair<std::uint32_t, std::uint32_t> used_entry(std::uint16_t index) const;

 private:
  const GuestPages* pages_;
  std::size_t offset_;
  std::uint16_t size_;
  std::uint16_t next_ = 0;
};

/// A message as a front end sends it, without its descriptors.
std::vector<std::uint8_t> vhost_message(hostd::VhostUserRequest request,
                                        std::span<const std::uint8_t> payload,
                                        std::uint32_t flags = 1);
template <typename T>
std::vector<std::uint8_t> bytes_of(const T& value) {
  const auto* begin = reinterpret_cast<const std::uint8_t*>(&value);
  return {begin, begin + sizeof value};
}
std::vector<std::uint8_t> memory_table(std::span<const hostd::MemoryRegion> regions);
UniqueFd make_eventfd();

}  // namespace sluice::test
