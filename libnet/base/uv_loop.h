#pragma once

#include <uv.h>

#include <atomic>
#include <functional>
#include <memory>
#include <vector>

#include <concurrentqueue/concurrentqueue.h>
#include <net/status.h>

#include "base/loop.h"

namespace sluice {

/// The Loop of the real world, over libuv. Made on any thread; afterwards it belongs to the thread
/// that calls run(), and every call is made there but post() and stop(). Timers and watches must be
/// gone before it. Uses no thread pool.
///
/// A turn is: timers that are due, deferred tasks, sleep, ready descriptors and posted tasks. now()
/// has milliseconds, like the timers, so that a timer never finds that it fired too early.
class UvLoop final : public Loop {
 public:
  /// exhausted: out of descriptors or memory.
  static Result<std::unique_ptr<UvLoop>> create();
  ~UvLoop() override;
  UvLoop(const UvLoop&) = delete;
  UvLoop& operator=(const UvLoop&) = delete;

  /// Runs until stop(). May be called again.
  void run();
  /// Any thread. Makes run(), or the next run(), return; what the same thread posted before still
  /// runs.
  void stop();
  /// Any thread. Runs `task` on the loop's thread, in the order of the calls of one thread. Tasks
  /// that are still queued when the loop is destroyed are destroyed without being run.
  void post(std::function<void()> task);

  /// For what the seam does not offer, such as signals.
  uv_loop_t* uv() { return &loop_; }

  TimePoint now() const override;
  std::int64_t wall_time_ns() const override;
  std::unique_ptr<Timer> make_timer(std::function<void()> on_fire) override;
  std::unique_ptr<FdWatch> watch(int fd, FdReady interest,
                                 std::function<void(FdReady)> on_ready) override;
  void defer(std::function<void()> task) override;

 private:
  UvLoop() = default;
  void wake();
  void run_posted();
  void run_deferred();

  uv_loop_t loop_{};
  uv_async_t posted_event_{};
  uv_prepare_t before_sleep_{};
  uv_idle_t keep_awake_{};  ///< Active while deferred tasks wait for the next turn.
  moodycamel::ConcurrentQueue<std::function<void()>> posted_;
  std::atomic<bool> stop_requested_{false};
  std::vector<std::function<void()>> deferred_;
  bool open_ = false;
};

}  // namespace sluice
