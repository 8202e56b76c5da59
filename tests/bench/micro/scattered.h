#pragma once

#include <cstddef>
#include <numeric>

namespace sluice::bench {

/// All places below `count` in turn, each far from the last, so that no cache has the next one for
/// the last one's sake.
class Scattered {
 public:
  explicit Scattered(std::size_t count) : count_(count), stride_(count * 5 / 8 + 1) {
    while (std::gcd(stride_, count_) != 1) ++stride_;
  }

  std::size_t next() {
    at_ += stride_;
    while (at_ >= count_) at_ -= count_;
    return at_;
  }

 private:
  std::size_t count_;
  std::size_t stride_;
  std::size_t at_ = 0;
};

}  // namespace sluice::bench
