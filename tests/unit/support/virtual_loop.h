#pragma once

#include <functional>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "base/loop.h"

namespace sluice::test {

/// A Loop whose time a test advances. Nothing runs by itself:
///
///     VirtualLoop loop;
///     auto timer = loop.make_timer([&] { ++fired; });
///     timer->start(100ms);
///     loop.advance(99ms);   // fired == 0
///     loop.advance(1ms);    // fired == 1
///     loop.run_ready();     // deferred tasks and timers that are due, without letting time pass
///     loop.make_ready(fd, {.readable = true});  // what a watch on `fd` would be told
///
/// Timers fire in order of time, equal ones in order of start; now() is the timer's time while it
/// fires. Deferred tasks run before the next timer. The clock starts at 1000 s, not at zero, so
/// that a test finds code that takes zero for "never".
class VirtualLoop final : public Loop {
 public:
  VirtualLoop();
  ~VirtualLoop() override;

  /// Lets `delay` pass, with everything that becomes due meanwhile.
  void advance(Duration delay);
  /// What is due now: deferred tasks, also those they defer, and timers that have run out.
  void run_ready();
  /// Advances to the next timer and fires it; false if there is none.
  bool advance_to_next_timer();
  /// Calls the watch on `fd` with what it is interested in of `ready`, then run_ready().
  void make_ready(int fd, FdReady ready);

  /// Asks the kernel which watched descriptors are ready now and calls their watches, then
  /// run_ready(); returns how many were. For code that has descriptors of its own, such as wakes.
  std::size_t poll_watches();

  std::size_t active_timers() const;
  std::size_t deferred_tasks() const;

  TimePoint now() const override;
  /// now() as if the epoch had been at its zero.
  std::int64_t wall_time_ns() const override;
  std::unique_ptr<Timer> make_timer(std::function<void()> on_fire) override;
  std::unique_ptr<FdWatch> watch(int fd, FdReady interest,
                                 std::function<void(FdReady)> on_ready) override;
  void defer(std::function<void()> task) override;

 private:
  friend class VirtualTimer;
  friend class VirtualWatch;
  struct State;
  std::shared_ptr<State> state_;  ///< Shared with timers and watches, which may outlive the loop.
};

}  // namespace sluice::test
