#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "base/buffer.h"
#include "base/bytes.h"
#include "base/owned_bytes.h"

namespace sluice {

/// The end of a frame that was not copied: it lies in memory of the guest's, who may change it at
/// any time, and gets it back at the end of the batch. So whoever looks at it, to judge or to parse
/// it, takes a copy first. What lies at the frame's own end is not the frame's: it may be
/// another's.
struct LentBytes {
  std::span<const iovec> pieces;
  std::size_t size = 0;  ///< Sum of the pieces.

  explicit operator bool() const { return size > 0; }
  /// To `to`, of `size` bytes.
  void copy_to(std::uint8_t* to) const {
    for (const iovec& piece : pieces) {
      std::memcpy(to, piece.iov_base, piece.iov_len);
      to += piece.iov_len;
    }
  }
  /// Makes `frame` a copy that is whole, which `buffer` then holds; nothing is lent any more.
  void complete(Bytes& frame, BufferRef& buffer) {
    std::vector<std::uint8_t> bytes;
    bytes.reserve(frame.size());
    bytes.assign(frame.begin(), frame.end() - static_cast<std::ptrdiff_t>(size));
    bytes.resize(frame.size());
    copy_to(bytes.data() + frame.size() - size);
    auto whole = std::make_unique<ReadBytes>(std::move(bytes));
    frame = whole->bytes;
    buffer = BufferRef(whole.release());
    *this = {};
  }
};

}  // namespace sluice
