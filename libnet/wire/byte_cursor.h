#pragma once

#include <cstddef>
#include <cstdint>

#include "base/bytes.h"

namespace sluice::wire {

/// Takes a message apart from its front. After a length that isn't there everything is empty or 0
/// and ok() is false for good. The bytes are the caller's and outlive it.
class ByteCursor {
 public:
  explicit ByteCursor(ConstBytes bytes) : bytes_(bytes) {}

  ConstBytes take(std::uint64_t count) {
    if (count > bytes_.size() - at_) {
      ok_ = false;
      at_ = bytes_.size();
      return {};
    }
    ConstBytes taken = bytes_.subspan(at_, static_cast<std::size_t>(count));
    at_ += taken.size();
    return taken;
  }
  std::uint8_t take8() {
    ConstBytes byte = take(1);
    return byte.empty() ? std::uint8_t{0} : byte[0];
  }
  std::uint16_t take16() {
    ConstBytes bytes = take(2);
    return bytes.empty() ? std::uint16_t{0} : load_be16(bytes.data());
  }
  void skip_zeros() {
    while (at_ < bytes_.size() && bytes_[at_] == 0) ++at_;
  }

  bool ok() const { return ok_; }
  bool at_end() const { return at_ == bytes_.size(); }
  std::size_t at() const { return at_; }

 private:
  ConstBytes bytes_;
  std::size_t at_ = 0;
  bool ok_ = true;
};

}  // namespace sluice::wire
