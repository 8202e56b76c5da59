#include "base/uv_loop.h"

#include <time.h>

#include <algorithm>

namespace sluice {

namespace {

/// Bounds one round of posted tasks, so that a thread that posts without end starves nobody.
constexpr int kPostedPerTurn = 1024;

/// libuv frees a handle's memory only after the turn in which it was closed; by then a callback
/// that destroyed its own timer or watch has returned too, so the callable lives here with it.
struct TimerState {
  uv_timer_t handle{};
  std::function<void()> on_fire;
};

struct PollState {
  uv_poll_t handle{};
  std::function<void(FdReady)> on_ready;
  int events = 0;
};

template <typename State>
void close_later(std::unique_ptr<State> state) {
  auto* handle = reinterpret_cast<uv_handle_t*>(&state.release()->handle);
  uv_close(handle, [](uv_handle_t* closed) {
    std::unique_ptr<State> gone(static_cast<State*>(closed->data));
  });
}

class UvTimer final : public Timer {
 public:
  UvTimer(uv_loop_t* loop, std::function<void()> on_fire) : state_(std::make_unique<TimerState>()) {
    uv_timer_init(loop, &state_->handle);
    state_->handle.data = state_.get();
    state_->on_fire = std::move(on_fire);
  }
  ~UvTimer() override { close_later(std::move(state_)); }

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

void on_poll(uv_poll_t* handle, int status, int events);

void apply_interest(PollState& state) {
  if (state.events == 0) {
    uv_poll_stop(&state.handle);
  } else {
    uv_poll_start(&state.handle, state.events, on_poll);
  }
}

void on_poll(uv_poll_t* handle, int status, int events) {
  auto& state = *static_cast<PollState*>(handle->data);
  // On an error condition libuv ends the watch; ours goes on until its owner ends it.
  if (status < 0) apply_interest(state);
  FdReady ready{.readable = status < 0 || (events & UV_READABLE) != 0,
                .writable = status < 0 || (events & UV_WRITABLE) != 0};
  state.on_ready(ready);
}

class UvWatch final : public FdWatch {
 public:
  explicit UvWatch(std::unique_ptr<PollState> state) : state_(std::move(state)) {}
  ~UvWatch() override { close_later(std::move(state_)); }

  void set_interest(FdReady interest) override {
    int events = (interest.readable ? UV_READABLE : 0) | (interest.writable ? UV_WRITABLE : 0);
    if (events == state_->events) return;
    state_->events = events;
    apply_interest(*state_);
  }

 private:
  std::unique_ptr<PollState> state_;
};

}  // namespace

Result<std::unique_ptr<UvLoop>> UvLoop::create() {
  std::unique_ptr<UvLoop> loop(new UvLoop());  // The constructor is private to this factory.
  if (int error = uv_loop_init(&loop->loop_); error != 0) {
    return Status::from_errno(-error, "make an event loop");
  }
  loop->open_ = true;
  for (uv_handle_t* handle : {reinterpret_cast<uv_handle_t*>(&loop->posted_event_),
                              reinterpret_cast<uv_handle_t*>(&loop->before_sleep_),
                              reinterpret_cast<uv_handle_t*>(&loop->keep_awake_)}) {
    handle->data = loop.get();
  }
  uv_prepare_init(&loop->loop_, &loop->before_sleep_);
  uv_idle_init(&loop->loop_, &loop->keep_awake_);
  int error = uv_async_init(&loop->loop_, &loop->posted_event_, [](uv_async_t* handle) {
    static_cast<UvLoop*>(handle->data)->run_posted();
  });
  if (error != 0) return Status::from_errno(-error, "make an event loop");
  uv_prepare_start(&loop->before_sleep_, [](uv_prepare_t* handle) {
    static_cast<UvLoop*>(handle->data)->run_deferred();
  });
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
  uv_run(&loop_, UV_RUN_DEFAULT);
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
    uv_stop(&loop_);
  } else if (budget == 0) {
    uv_async_send(&posted_event_);
  }
}

void UvLoop::run_deferred() {
  std::vector<std::function<void()>> tasks;
  tasks.swap(deferred_);
  for (auto& task : tasks) task();
  // libuv looks at idle handles after this, before it chooses how long to sleep.
  if (deferred_.empty()) {
    uv_idle_stop(&keep_awake_);
  } else {
    uv_idle_start(&keep_awake_, [](uv_idle_t*) {});
  }
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
  auto state = std::make_unique<PollState>();
  if (uv_poll_init(&loop_, &state->handle, fd) != 0) return nullptr;
  state->handle.data = state.get();
  state->on_ready = std::move(on_ready);
  auto watch = std::make_unique<UvWatch>(std::move(state));
  watch->set_interest(interest);
  return watch;
}

void UvLoop::defer(std::function<void()> task) {
  deferred_.push_back(std::move(task));
}

}  // namespace sluice
