#pragma once

#include <uv.h>

#include <atomic>
#include <functional>
#include <memory>
#include <vector>

#include <concurrentqueue/concurrentqueue.h>
#include <net/status.h>

#include "base/loop.h"
#include "base/poller.h"

namespace sluice {

/// The Loop of the real world. Made on any thread; afterwards it belongs to the thread that calls
/// run(), and every call is made there but post() and stop(). Timers and watches must be gone
/// before it. Uses no thread pool.
///
/// It sleeps in an epoll set of its own, where libuv, which has the timers and the posted tasks, is
/// one descriptor of many: so that one wait tells which socket is ready. A turn is: timers that are
/// due and posted tasks, deferred tasks, sleep, ready descriptors. now() has milliseconds, like the
/// timers, so that a timer never finds that it fired too early.
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

  /// Where sockets are watched, edge-triggered.
  Poller& poller() { return poller_; }

  TimePoint now() const override;
  std::int64_t wall_time_ns() const override;
  std::unique_ptr<Timer> make_timer(std::function<void()> on_fire) override;
  std::unique_ptr<FdWatch> watch(int fd, FdReady interest,
                                 std::function<void(FdReady)> on_ready) override;
  void defer(std::function<void()> task) override;

 private:
  /// libuv's own descriptor. It is in use only after a first turn.
  struct Inner final : PollTarget {
    void on_events(std::uint32_t) override { due = true; }
    bool due = true;
  };

  UvLoop() = default;
  void wake();
  void run_posted();
  void run_deferred();

  uv_loop_t loop_{};
  uv_async_t posted_event_{};
  Poller poller_{*this};
  Inner inner_;
  bool running_ = false;
  moodycamel::ConcurrentQueue<std::function<void()>> posted_;
  std::atomic<bool> stop_requested_{false};
  std::vector<std::function<void()>> deferred_;
  bool open_ = false;
};

}  // namespace sluice
