#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>

namespace sluice {

using Duration = std::chrono::nanoseconds;
/// Monotonic. A virtual loop makes its own.
using TimePoint = std::chrono::time_point<std::chrono::steady_clock, Duration>;

/// A one-shot timer of a Loop, not armed when made. Destroying it disarms it.
class Timer {
 public:
  virtual ~Timer() = default;
  /// (Re)arms it: the callback runs once, `delay` from now (rounded up to 1 ms).
  virtual void start(Duration delay) = 0;
  virtual void stop() = 0;
  virtual bool active() const = 0;
};

/// What a watched descriptor is ready for.
struct FdReady {
  bool readable = false;
  bool writable = false;
};

/// Interest in a descriptor, level-triggered. Destroying it ends the watch; it never closes the fd.
class FdWatch {
 public:
  virtual ~FdWatch() = default;
  virtual void set_interest(FdReady interest) = 0;
};

/// The seam for time and readiness: everything that waits takes one of these, and a test drives a
/// virtual one. All calls are made on the loop's thread. Callbacks never run inside the call that
/// set them up.
class Loop {
 public:
  virtual ~Loop() = default;

  /// The time at which this turn of the loop began.
  virtual TimePoint now() const = 0;
  /// Nanoseconds since the Unix epoch, for what people read.
  virtual std::int64_t wall_time_ns() const = 0;

  virtual std::unique_ptr<Timer> make_timer(std::function<void()> on_fire) = 0;
  /// Error and hang-up count as readable and writable, as long as there is an interest in either.
  /// nullptr if `fd` is of a kind that can't be waited for, or is watched already. It does not
  /// block from now on (O_NONBLOCK), so that a callback may read it to its end.
  virtual std::unique_ptr<FdWatch> watch(int fd, FdReady interest,
                                         std::function<void(FdReady)> on_ready) = 0;
  /// Runs `task` once after the callbacks of this turn, before the loop sleeps.
  virtual void defer(std::function<void()> task) = 0;
};

}  // namespace sluice
