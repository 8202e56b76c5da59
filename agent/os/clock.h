#pragma once

#include <cstdint>
#include <ctime>
#include <optional>
#include <string>
#include <string_view>

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

/// A time since the epoch as RFC 3339 has it, with all nine digits behind the second:
/// "2026-01-31T10:00:00.123456789Z". Not by the C library, whose functions bring zones of time
/// along.
std::string utc_text(std::int64_t time_ns);
/// As utc_text() has it, and no other form. Nothing also for years that 64 bits of nanoseconds
/// don't reach, and for days that there are not.
std::optional<std::int64_t> parse_utc(std::string_view text);

/// Moves the wall clock by so much, relative to what it is, so that the time this takes is not
/// lost: at once, or by running up to 500 ppm faster or slower. 0, or errno (EPERM without
/// CAP_SYS_TIME).
int move_clock(std::int64_t offset_ns, bool step);

}  // namespace sluice::agent
