#pragma once

#include <sys/uio.h>

#include <algorithm>
#include <cstddef>
#include <span>

namespace sluice {

/// Bytes of all pieces together.
inline std::size_t total_size(std::span<const iovec> pieces) {
  std::size_t size = 0;
  for (const iovec& piece : pieces) size += piece.iov_len;
  return size;
}

/// Cuts pieces to `bytes` in all; returns how many are left.
inline std::size_t limit_pieces(std::span<iovec> pieces, std::size_t bytes) {
  std::size_t count = 0;
  for (iovec& piece : pieces) {
    if (bytes == 0) break;
    piece.iov_len = std::min(piece.iov_len, bytes);
    bytes -= piece.iov_len;
    ++count;
  }
  return count;
}

}  // namespace sluice
