#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstring>
#include <span>

#include "base/bytes.h"

namespace sluice {

/// The end of a frame that was not copied: it lies in memory of the guest's, who may change it at
/// any time, and gets it back at the end of the batch. So whoever looks at it, to judge or to parse
/// it, takes a copy first. The frame has room for it, which holds nothing.
struct LentBytes {
  std::span<const iovec> pieces;
  std::size_t size = 0;  ///< Sum of the pieces.

  explicit operator bool() const { return size > 0; }
  /// Puts a copy at the end of `frame`, where it belongs; nothing is lent then.
  void copy_to_end_of(Bytes frame) {
    std::uint8_t* to = frame.data() + frame.size() - size;
    for (const iovec& piece : pieces) {
      std::memcpy(to, piece.iov_base, piece.iov_len);
      to += piece.iov_len;
    }
    *this = {};
  }
};

}  // namespace sluice
