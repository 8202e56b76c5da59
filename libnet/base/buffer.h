#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

namespace sluice {

/// Memory that attachments read the guest's frames into, as long as anybody refers to it. One byte
/// keeps all of a read's, so who holds frames for longer than a batch copies them where this is
/// scarce: then a guest can't make it grow. On the loop's thread.
class ReadMemory {
 public:
  static constexpr std::size_t kPlenty = std::size_t{64} << 20;

  static void add(std::size_t bytes) { bytes_ += bytes; }
  static void remove(std::size_t bytes) { bytes_ -= bytes; }
  static bool is_scarce() { return bytes_ > kPlenty; }

 private:
  static inline std::size_t bytes_ = 0;
};

/// Memory that frames or payload lie in, counted by references. The count is not atomic: references
/// are taken and dropped on the loop's thread only. `dispose` runs when the last one goes.
struct Buffer {
  using Dispose = void (*)(Buffer*);

  explicit Buffer(Dispose on_dispose) : dispose(on_dispose) {}
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  Dispose dispose;
  std::uint32_t references = 0;
};

/// A counted reference to a Buffer; may be empty.
class BufferRef {
 public:
  BufferRef() = default;
  explicit BufferRef(Buffer* buffer) : buffer_(buffer) {
    if (buffer_) ++buffer_->references;
  }
  BufferRef(const BufferRef& other) : BufferRef(other.buffer_) {}
  BufferRef(BufferRef&& other) noexcept : buffer_(std::exchange(other.buffer_, nullptr)) {}
  BufferRef& operator=(BufferRef other) noexcept {
    std::swap(buffer_, other.buffer_);
    return *this;
  }
  ~BufferRef() {
    if (buffer_ && --buffer_->references == 0) buffer_->dispose(buffer_);
  }

  Buffer* get() const { return buffer_; }
  explicit operator bool() const { return buffer_ != nullptr; }
  /// Gives the reference away without dropping it; adopt() takes it up again.
  Buffer* release() { return std::exchange(buffer_, nullptr); }
  static BufferRef adopt(Buffer* buffer) {
    BufferRef ref;
    ref.buffer_ = buffer;
    return ref;
  }

 private:
  Buffer* buffer_ = nullptr;
};

}  // namespace sluice
