#include "link/wake.h"

#include <fmt/format.h>
#include <poll.h>

#include <catch2/catch.hpp>
#include <stop_token>
#include <thread>
#include <utility>

using namespace sluice;
using namespace sluice::link;

namespace {

Doorbell make_bell(WakeKind kind) {
  return std::move(Doorbell::create(kind).value());
}

void sleep_on(Doorbell& bell) {
  pollfd item{.fd = bell.fd(), .events = POLLIN, .revents = 0};
  while (::poll(&item, 1, -1) < 1) {
  }
  bell.clear();
}

/// Answers every ring.
class Sleeper {
 public:
  explicit Sleeper(WakeKind kind) : call_(make_bell(kind)), answer_(make_bell(kind)) {}
  ~Sleeper() {
    thread_.request_stop();
    call_.ring();
  }

  void wake_and_wait() {
    call_.ring();
    sleep_on(answer_);
  }

 private:
  Doorbell call_;
  Doorbell answer_;
  std::jthread thread_{[this](const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      sleep_on(call_);
      answer_.ring();
    }
  }};
};

}  // namespace

TEST_CASE("what it costs to ask whether somebody sleeps", "[wake]") {
  ArmFlag flag;
  BENCHMARK("take(), nobody sleeps") {
    return flag.take();
  };
  BENCHMARK("arm() and take()") {
    flag.arm();
    return flag.take();
  };
}

TEST_CASE("a doorbell", "[wake]") {
  for (auto [kind, name] :
       {std::pair(WakeKind::eventfd, "eventfd"), std::pair(WakeKind::pipe, "pipe")}) {
    Doorbell bell = make_bell(kind);
    BENCHMARK(fmt::format("{}: ring() and clear()", name)) {
      bell.ring();
      bell.clear();
    };
    Sleeper sleeper(kind);
    BENCHMARK(fmt::format("{}: wake one and be woken", name)) {
      sleeper.wake_and_wait();
    };
  }
}
