#pragma once

#include <algorithm>

#include "base/loop.h"

namespace sluice::flow {

/// A rate limit: `rate` events a second on average, `burst` at once.
class TokenBucket {
 public:
  TokenBucket(double rate, double burst) : rate_(rate), burst_(burst), tokens_(burst) {}

  /// Takes one token if there is one.
  bool take(TimePoint now) {
    double passed = std::chrono::duration<double>(now - last_).count();
    if (last_ != TimePoint() && passed > 0) tokens_ = std::min(burst_, tokens_ + passed * rate_);
    last_ = now;
    if (tokens_ < 1) return false;
    tokens_ -= 1;
    return true;
  }

 private:
  double rate_;
  double burst_;
  double tokens_;
  TimePoint last_{};
};

}  // namespace sluice::flow
