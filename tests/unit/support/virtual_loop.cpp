#include "support/virtual_loop.h"

#include <poll.h>

#include <algorithm>
#include <stdexcept>

namespace sluice::test {

using std::chrono::milliseconds;

namespace {

/// Rounds without time passing after which a test is told that there is no end.
constexpr int kMostRounds = 100'000;

struct TimerBody {
  std::function<void()> on_fire;
};

struct WatchBody {
  FdReady interest;
  std::function<void(FdReady)> on_ready;
};

}  // namespace

struct VirtualLoop::State {
  using Key = std::pair<TimePoint, std::uint64_t>;

  TimePoint now{std::chrono::seconds(1000)};
  std::uint64_t next_order = 0;
  std::map<Key, std::shared_ptr<TimerBody>> timers;
  std::map<int, std::shared_ptr<WatchBody>> watches;
  std::vector<std::function<void()>> deferred;

  void run_deferred() {
    for (int round = 0; !deferred.empty(); ++round) {
      if (round == kMostRounds) throw std::logic_error("deferred tasks defer each other endlessly");
      std::vector<std::function<void()>> tasks;
      tasks.swap(deferred);
      for (auto& task : tasks) task();
    }
  }

  void fire_first() {
    auto first = timers.begin();
    now = std::max(now, first->first.first);
    auto body = first->second;  // Kept: the callback may destroy the timer.
    timers.erase(first);
    body->on_fire();
    run_deferred();
  }

  void run_until(TimePoint end) {
    run_deferred();
    int rounds = 0;
    while (!timers.empty() && timers.begin()->first.first <= end) {
      rounds = timers.begin()->first.first > now ? 0 : rounds + 1;
      if (rounds == kMostRounds) throw std::logic_error("timers start each other endlessly");
      fire_first();
    }
    now = std::max(now, end);
  }
};

class VirtualTimer final : public Timer {
 public:
  VirtualTimer(std::shared_ptr<VirtualLoop::State> state, std::function<void()> on_fire)
      : state_(std::move(state)),
        body_(std::make_shared<TimerBody>(TimerBody{std::move(on_fire)})) {}
  ~VirtualTimer() override { stop(); }

  void start(Duration delay) override {
    stop();
    auto whole = std::chrono::ceil<milliseconds>(std::max(delay, Duration::zero()));
    key_ = {state_->now + whole, state_->next_order++};
    state_->timers.emplace(key_, body_);
  }
  void stop() override {
    if (active()) state_->timers.erase(key_);
  }
  bool active() const override {
    auto at = state_->timers.find(key_);
    return at != state_->timers.end() && at->second == body_;
  }

 private:
  std::shared_ptr<VirtualLoop::State> state_;
  std::shared_ptr<TimerBody> body_;
  VirtualLoop::State::Key key_;
};

class VirtualWatch final : public FdWatch {
 public:
  VirtualWatch(std::shared_ptr<VirtualLoop::State> state, int fd, std::shared_ptr<WatchBody> body)
      : state_(std::move(state)), fd_(fd), body_(std::move(body)) {}
  ~VirtualWatch() override { state_->watches.erase(fd_); }
  void set_interest(FdReady interest) override { body_->interest = interest; }

 private:
  std::shared_ptr<VirtualLoop::State> state_;
  int fd_;
  std::shared_ptr<WatchBody> body_;
};

VirtualLoop::VirtualLoop() : state_(std::make_shared<State>()) {}

VirtualLoop::~VirtualLoop() {
  // Closures may hold what holds the loop's state.
  state_->deferred.clear();
  state_->timers.clear();
  state_->watches.clear();
}

void VirtualLoop::advance(Duration delay) {
  state_->run_until(state_->now + delay);
}

void VirtualLoop::run_ready() {
  state_->run_until(state_->now);
}

bool VirtualLoop::advance_to_next_timer() {
  state_->run_deferred();
  if (state_->timers.empty()) return false;
  state_->fire_first();
  return true;
}

void VirtualLoop::make_ready(int fd, FdReady ready) {
  auto at = state_->watches.find(fd);
  if (at != state_->watches.end()) {
    auto body = at->second;
    ready.readable = ready.readable && body->interest.readable;
    ready.writable = ready.writable && body->interest.writable;
    if (ready.readable || ready.writable) body->on_ready(ready);
  }
  run_ready();
}

std::size_t VirtualLoop::poll_watches() {
  std::vector<pollfd> items;
  for (const auto& [fd, body] : state_->watches) {
    int events = (body->interest.readable ? POLLIN : 0) | (body->interest.writable ? POLLOUT : 0);
    if (events != 0) items.push_back({.fd = fd, .events = static_cast<short>(events)});
  }
  if (::poll(items.data(), items.size(), 0) <= 0) return 0;
  std::size_t ready = 0;
  for (const pollfd& item : items) {
    if (item.revents == 0) continue;
    ++ready;
    bool failed = (item.revents & (POLLERR | POLLHUP)) != 0;
    make_ready(item.fd, {.readable = failed || (item.revents & POLLIN) != 0,
                         .writable = failed || (item.revents & POLLOUT) != 0});
  }
  return ready;
}

std::size_t VirtualLoop::active_timers() const {
  return state_->timers.size();
}

std::size_t VirtualLoop::deferred_tasks() const {
  return state_->deferred.size();
}

TimePoint VirtualLoop::now() const {
  return state_->now;
}

std::int64_t VirtualLoop::wall_time_ns() const {
  return state_->now.time_since_epoch().count();
}

std::unique_ptr<Timer> VirtualLoop::make_timer(std::function<void()> on_fire) {
  return std::make_unique<VirtualTimer>(state_, std::move(on_fire));
}

std::unique_ptr<FdWatch> VirtualLoop::watch(int fd, FdReady interest,
                                            std::function<void(FdReady)> on_ready) {
  auto body = std::make_shared<WatchBody>(WatchBody{interest, std::move(on_ready)});
  if (!state_->watches.emplace(fd, body).second) return nullptr;
  return std::make_unique<VirtualWatch>(state_, fd, std::move(body));
}

void VirtualLoop::defer(std::function<void()> task) {
  state_->deferred.push_back(std::move(task));
}

}  // namespace sluice::test
