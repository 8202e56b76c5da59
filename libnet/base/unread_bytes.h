#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <span>

namespace sluice {

/// Who has bytes that nobody has read yet. On the loop's thread.
class UnreadSource {
 public:
  /// Copies the bytes from `position` on to `to`, all of it; they stay unread. False where they are
  /// not there: then nothing of `to` means anything.
  virtual bool copy(std::uint64_t position, std::span<const iovec> to) = 0;

 protected:
  ~UnreadSource() = default;
};

/// The end of a frame for the guest that still lies in the host's socket: whoever puts the frame
/// into the guest's memory has the kernel copy it there, and nobody else does. The counterpart of
/// LentBytes.
struct UnreadBytes {
  UnreadSource* source = nullptr;
  std::uint64_t position = 0;
  std::size_t size = 0;

  explicit operator bool() const { return size > 0; }
  bool copy_to(std::span<const iovec> to) const { return source->copy(position, to); }
};

}  // namespace sluice
