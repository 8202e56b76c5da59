#pragma once

#include <cstdint>
#include <ctime>

namespace sluice::agent {

inline constexpr std::int64_t kNsPerSecond = 1'000'000'000;

inline std::int64_t nanoseconds(const timespec& time) {
  return std::int64_t{time.tv_sec} * kNsPerSecond + time.tv_nsec;
}

inline std::int64_t clock_ns(clockid_t clock) {
  timespec now{};
  ::clock_gettime(clock, &now);
  return nanoseconds(now);
}

}  // namespace sluice::agent
