#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "base/bytes.h"

namespace sluice::wire {

/// Knows where the frames end in what one side of an HTTP/2 connection sends (RFC 9113
/// section 4.1), from its first frame on. The bytes belong to the caller; nothing but a frame
/// header is copied.
class Http2FrameEdge {
 public:
  void feed(ConstBytes bytes) {
    while (!bytes.empty() && !is_lost_) {
      if (left_ > 0) {
        std::size_t count = std::min(left_, bytes.size());
        left_ -= count;
        bytes = bytes.subspan(count);
        continue;
      }
      header_[header_bytes_++] = bytes[0];
      bytes = bytes.subspan(1);
      if (header_bytes_ < header_.size()) continue;
      header_bytes_ = 0;
      left_ = std::size_t{header_[0]} << 16 | load_be16(&header_[1]);
    }
  }
  /// So many bytes came that can't be shown.
  void skip(std::size_t bytes) {
    if (bytes > left_) is_lost_ = true;
    left_ -= std::min(bytes, left_);
  }
  /// Whether the next byte begins a frame.
  bool is_between() const { return !is_lost_ && left_ == 0 && header_bytes_ == 0; }

 private:
  std::array<std::uint8_t, 9> header_{};
  std::size_t header_bytes_ = 0;
  std::size_t left_ = 0;  // of the payload under way
  bool is_lost_ = false;  // what was skipped had a header in it
};

}  // namespace sluice::wire
