#include "base/uv_loop.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <time.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace sluice {

namespace {

/// Bounds one round of posted tasks, so that a thread that posts without end starves nobody.
constexpr int kPostedPerTurn = 1024;

/// libuv frees a handle's memory only after the turn in which it was closed; by then a callback
/// that destroyed its own timer has returned too, so the callable lives here with it.
struct TimerState {
  uv_timer_t handle{};
  std::function<void()> on_fire;
};

class UvTimer final : public Timer {
 public:
  UvTimer(uv_loop_t* loop, std::function<void()> on_fire) : state_(std::make_unique<TimerState>()) {
    uv_timer_init(loop, &state_->handle);
    state_->handle.data = state_.get();
    state_->on_fire = std::move(on_fire);
  }
  ~UvTimer() override {
    uv_close(reinterpret_cast<uv_handle_t*>(&state_.release()->handle), [](uv_handle_t* closed) {
      std::unique_ptr<TimerState> gone(static_cast<TimerState*>(closed->data));
    });
  }

  void start(Duration delay) override {
    auto whole = std::chrono::ceil<std::chrono::milliseconds>(std::max(delay, Duration::zero()));
    uv_timer_start(
        &state_->handle,
        [](uv_timer_t* handle) { static_cast<TimerState*>(handle->data)->on_fire(); },
        static_cast<std::uint64_t>(whole.count()), 0);
  }
  void stop() override { uv_timer_stop(&state_->handle); }
  bool active() const override {
    return uv_is_active(reinterpret_cast<uv_handle_t*>(&state_->handle)) != 0;
  }

 private:
  std::unique_ptr<TimerState> state_;
};

/// An FdWatch in the loop's epoll set.
class PollerWatch final : public FdWatch {
 public:
  PollerWatch(Poller& poller, int fd, std::function<void(FdReady)> on_ready)
      : poller_(poller), fd_(fd), target_(std::make_shared<Target>(std::move(on_ready))) {}
  ~PollerWatch() override { set_events(0); }

  void set_interest(FdReady interest) override { set_events(events_of(interest)); }

  /// False if the descriptor can't be waited for.
  bool start(FdReady interest) {
    bool works = set_events(EPOLLIN);
    set_interest(interest);
    return works;
  }

 private:
  struct Target final : PollTarget, std::enable_shared_from_this<Target> {
    explicit Target(std::function<void(FdReady)> callback) : on_ready(std::move(callback)) {}

    void on_events(std::uint32_t events) override {
      auto self = shared_from_this();  // The callback may destroy the watch.
      bool failed = (events & (EPOLLERR | EPOLLHUP)) != 0;
      on_ready({.readable = failed || (events & EPOLLIN) != 0,
                .writable = failed || (events & EPOLLOUT) != 0});
    }

    std::function<void(FdReady)> on_ready;
  };

  static std::uint32_t events_of(FdReady interest) {
    return (interest.readable ? std::uint32_t{EPOLLIN} : 0) |
           (interest.writable ? std::uint32_t{EPOLLOUT} : 0);
  }

  bool set_events(std::uint32_t events) {
    if (events == events_) return true;
    if (events == 0) {
      poller_.remove(std::exchange(key_, 0), fd_);
    } else if (key_ != 0) {
      poller_.change(key_, fd_, events);
    } else {
      key_ = poller_.add(fd_, events, target_.get());
      if (key_ == 0) return false;
    }
    events_ = events;
    return true;
  }

  Poller& poller_;
  int fd_;
  std::shared_ptr<Target> target_;
  Poller::Key key_ = 0;       ///< Of the set, where there is an interest.
  std::uint32_t events_ = 0;  ///< Registered.
};

}  // namespace

Result<std::unique_ptr<UvLoop>> UvLoop::create() {
  std::unique_ptr<UvLoop> loop(new UvLoop());  // The constructor is private to this factory.
  if (int error = uv_loop_init(&loop->loop_); error != 0) {
    return Status::from_errno(-error, "make an event loop");
  }
  loop->open_ = true;
  loop->posted_event_.data = loop.get();
  int error = uv_async_init(&loop->loop_, &loop->posted_event_, [](uv_async_t* handle) {
    static_cast<UvLoop*>(handle->data)->run_posted();
  });
  if (error != 0) return Status::from_errno(-error, "make an event loop");
  if (Status status = loop->poller_.open(); !status) return status;
  if (loop->poller_.add(uv_backend_fd(&loop->loop_), EPOLLIN, &loop->inner_) == 0) {
    return Status::from_errno(errno, "make an event loop");
  }
  return loop;
}

UvLoop::~UvLoop() {
  if (!open_) return;
  deferred_.clear();
  uv_walk(
      &loop_,
      [](uv_handle_t* handle, void*) {
        if (!uv_is_closing(handle)) uv_close(handle, nullptr);
      },
      nullptr);
  uv_run(&loop_, UV_RUN_DEFAULT);
  uv_loop_close(&loop_);
}

void UvLoop::run() {
  running_ = true;
  while (running_) {
    if (inner_.due || uv_backend_timeout(&loop_) == 0) {
      inner_.due = false;
      uv_run(&loop_, UV_RUN_NOWAIT);
    }
    run_deferred();
    if (!running_) break;
    poller_.wait(deferred_.empty() ? uv_backend_timeout(&loop_) : 0);
    uv_update_time(&loop_);
    poller_.deliver();
  }
}

void UvLoop::stop() {
  stop_requested_.store(true, std::memory_order_release);
  wake();
}

void UvLoop::post(std::function<void()> task) {
  posted_.enqueue(std::move(task));
  wake();
}

void UvLoop::wake() {
  // It costs a system call only if no earlier one is unanswered, which libuv reads without a
  // barrier: without ours that read may come before what was written here is seen, the loop answer
  // the earlier one in between and find nothing, and nobody wake it again.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  uv_async_send(&posted_event_);
}

void UvLoop::run_posted() {
  bool stopping = stop_requested_.exchange(false, std::memory_order_acquire);
  std::function<void()> task;
  int budget = kPostedPerTurn;
  // When stopping, everything that was posted before must run, and nothing is starved any more.
  std::size_t left = stopping ? posted_.size_approx() : 0;
  while ((budget > 0 || left > 0) && posted_.try_dequeue(task)) {
    task();
    task = nullptr;
    --budget;
    if (left > 0) --left;
  }
  if (stopping) {
    running_ = false;
  } else if (budget == 0) {
    uv_async_send(&posted_event_);
  }
}

void UvLoop::run_deferred() {
  std::vector<std::function<void()>> tasks;
  tasks.swap(deferred_);
  for (auto& task : tasks) task();
}

TimePoint UvLoop::now() const {
  return TimePoint(std::chrono::milliseconds(uv_now(&loop_)));
}

std::int64_t UvLoop::wall_time_ns() const {
  timespec time{};
  ::clock_gettime(CLOCK_REALTIME, &time);
  return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

std::unique_ptr<Timer> UvLoop::make_timer(std::function<void()> on_fire) {
  return std::make_unique<UvTimer>(&loop_, std::move(on_fire));
}

std::unique_ptr<FdWatch> UvLoop::watch(int fd, FdReady interest,
                                       std::function<void(FdReady)> on_ready) {
  int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0 || ::fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0) return nullptr;
  auto watch = std::make_unique<PollerWatch>(poller_, fd, std::move(on_ready));
  if (!watch->start(interest)) return nullptr;
  return watch;
}

void UvLoop::defer(std::function<void()> task) {
  deferred_.push_back(std::move(task));
}

}  // namespace sluice
