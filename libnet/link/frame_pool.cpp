#include "link/frame_pool.h"

#include <sys/mman.h>

#include <algorithm>

namespace sluice::link {

FramePool::FramePool(std::size_t small, std::size_t large) : small_(small), large_(large) {
  void* memory = ::mmap(nullptr, std::max<std::size_t>(bytes(), 1), PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory != MAP_FAILED) memory_ = memory;
}

FramePool::~FramePool() {
  if (memory_) ::munmap(memory_, std::max<std::size_t>(bytes(), 1));
}

Status FramePool::status() const {
  if (memory_) return Status::ok();
  return Status(StatusCode::exhausted, "no address space for frame buffers; use smaller rings");
}

std::size_t FramePool::bytes() const {
  return small_.total * kSmallBuffer + large_.total * kLargeBuffer;
}

void FramePool::Class::collect() {
  Index index;
  while (returned.pop(index)) free.push_back(index);
}

bool FramePool::has(Size size, std::size_t count) {
  Class& c = of(size);
  std::size_t left = c.free.size() + c.total - c.used;
  return left >= count || left + c.returned.available(count - left) >= count;
}

std::optional<FramePool::Index> FramePool::take(Size size) {
  Class& c = of(size);
  c.collect();
  if (!c.free.empty()) {
    Index index = c.free.back();
    c.free.pop_back();
    return index;
  }
  if (c.used == c.total) return std::nullopt;
  std::size_t first = size == Size::small ? 0 : small_.total;
  return static_cast<Index>(first + c.used++);
}

void FramePool::give_back(Index index) {
  // The ring has a place for each buffer, so this can't fail.
  of(index).returned.push(index);
}

std::uint8_t* FramePool::data(Index index) const {
  auto* base = static_cast<std::uint8_t*>(memory_);
  if (index < small_.total) return base + index * kSmallBuffer;
  return base + small_.total * kSmallBuffer + (index - small_.total) * kLargeBuffer;
}

}  // namespace sluice::link
