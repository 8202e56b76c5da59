#pragma once

#include <catch2/catch.hpp>
#include <functional>
#include <memory>

#include "base/uv_loop.h"

namespace sluice::test {

/// A real loop that a test runs on its own thread until a condition holds, with a deadline.
class LoopRunner {
 public:
  LoopRunner() : loop_(std::move(UvLoop::create().value())) {}

  UvLoop& loop() { return *loop_; }

  /// False if `done` did not become true within a minute.
  bool run_until(const std::function<bool()>& done) {
    bool expired = false;
    auto deadline = loop_->make_timer([&] {
      expired = true;
      loop_->stop();
    });
    deadline->start(std::chrono::minutes(1));
    // A closure that starts its own timer again.
    std::unique_ptr<Timer> check;
    check = loop_->make_timer([&] {
      if (done()) {
        loop_->stop();
      } else {
        check->start(std::chrono::milliseconds(1));
      }
    });
    check->start(Duration::zero());
    loop_->run();
    return !expired;
  }

  /// Lets the loop go round for `time`, for what must not happen.
  void run_for(Duration time) {
    auto end = loop_->make_timer([&] { loop_->stop(); });
    end->start(time);
    loop_->run();
  }

 private:
  std::unique_ptr<UvLoop> loop_;
};

}  // namespace sluice::test
