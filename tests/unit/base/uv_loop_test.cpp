#include "base/uv_loop.h"

#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <cerrno>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/loop_runner.h"
#include "base/unique_fd.h"

using namespace sluice;
using namespace std::chrono_literals;

TEST_CASE("timers fire in order of their time, and never before it") {
  test::LoopRunner runner;
  UvLoop& loop = runner.loop();
  std::vector<int> order;
  TimePoint start = loop.now();
  TimePoint late_fired{};
  auto late = loop.make_timer([&] {
    order.push_back(2);
    late_fired = loop.now();
  });
  auto early = loop.make_timer([&] { order.push_back(1); });
  late->start(20ms);
  early->start(1us);
  CHECK(late->active());
  REQUIRE(runner.run_until([&] { return order.size() == 2; }));
  CHECK(order == std::vector<int>{1, 2});
  CHECK(late_fired - start >= 20ms);
  CHECK_FALSE(late->active());
}

TEST_CASE("a stopped or destroyed timer stays silent") {
  test::LoopRunner runner;
  int fired = 0;
  auto stopped = runner.loop().make_timer([&] { ++fired; });
  auto destroyed = runner.loop().make_timer([&] { ++fired; });
  stopped->start(1ms);
  destroyed->start(1ms);
  stopped->stop();
  destroyed.reset();
  runner.run_for(20ms);
  CHECK(fired == 0);
}

TEST_CASE("a timer may destroy itself in its callback") {
  test::LoopRunner runner;
  std::string seen;
  std::unique_ptr<Timer> timer;
  // Captured by value, so that it would be gone if the callable went with the timer.
  timer = runner.loop().make_timer([&, text = std::string(64, 'x')] {
    timer.reset();
    seen = text;
  });
  timer->start(Duration::zero());
  REQUIRE(runner.run_until([&] { return !seen.empty(); }));
  CHECK(seen == std::string(64, 'x'));
}

TEST_CASE("posted tasks run on the loop's thread in the order of their thread") {
  test::LoopRunner runner;
  constexpr int kThreads = 4, kTasks = 5000;
  std::vector<std::vector<int>> seen(kThreads);
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kTasks; ++i) {
        runner.loop().post([&seen, t, i] { seen[static_cast<std::size_t>(t)].push_back(i); });
      }
    });
  }
  bool all = runner.run_until([&] {
    for (const auto& list : seen) {
      if (list.size() != kTasks) return false;
    }
    return true;
  });
  for (auto& thread : threads) thread.join();
  REQUIRE(all);
  for (const auto& list : seen) CHECK(std::is_sorted(list.begin(), list.end()));
}

TEST_CASE("of tasks that threads post and wait for, one after the other, none is left lying") {
  auto loop = std::move(UvLoop::create().value());
  std::thread runner([&] { loop->run(); });
  std::atomic<int> missing{0};
  auto poster = [&] {
    for (int i = 0; i < 50'000 && missing == 0; ++i) {
      // Shared, as one that was left lying may still run.
      auto done = std::make_shared<std::promise<void>>();
      loop->post([done] { done->set_value(); });
      if (done->get_future().wait_for(30s) != std::future_status::ready) ++missing;
    }
  };
  std::thread other(poster);
  poster();
  other.join();
  loop->stop();
  runner.join();
  CHECK(missing == 0);
}

TEST_CASE("what was posted before stop() still runs, from another thread and before run()") {
  test::LoopRunner runner;
  int ran = 0;
  std::thread other([&] {
    for (int i = 0; i < 5000; ++i) runner.loop().post([&] { ++ran; });
    runner.loop().stop();
  });
  other.join();
  runner.loop().run();
  CHECK(ran == 5000);
}

TEST_CASE("tasks that are left when the loop ends are destroyed, not run") {
  auto token = std::make_shared<int>(0);
  {
    test::LoopRunner runner;
    runner.loop().post([token] { ++*token; });
    runner.loop().defer([token] { ++*token; });
    CHECK(token.use_count() == 3);
  }
  CHECK(token.use_count() == 1);
  CHECK(*token == 0);
}

TEST_CASE("a deferred task runs after the callbacks of its turn, and its own in the next") {
  test::LoopRunner runner;
  UvLoop& loop = runner.loop();
  std::vector<std::string> order;
  auto first = loop.make_timer([&] {
    loop.defer([&] {
      order.push_back("deferred");
      loop.defer([&] { order.push_back("deferred again"); });
    });
    order.push_back("first");
  });
  auto second = loop.make_timer([&] { order.push_back("second"); });
  first->start(Duration::zero());
  second->start(Duration::zero());
  REQUIRE(runner.run_until([&] { return order.size() == 4; }));
  CHECK(order == std::vector<std::string>{"first", "second", "deferred", "deferred again"});
}

TEST_CASE("a loop with nothing to do sleeps") {
  test::LoopRunner runner;
  bool deferred = false;
  runner.loop().defer([&] { deferred = true; });
  std::clock_t before = std::clock();
  runner.run_for(200ms);
  CHECK(deferred);
  CHECK(static_cast<double>(std::clock() - before) / CLOCKS_PER_SEC < 0.1);
}

TEST_CASE("a watch reports what there is an interest in") {
  test::LoopRunner runner;
  int pair[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
  UniqueFd ours(pair[0]), theirs(pair[1]);
  int readable = 0, writable = 0;
  auto watch = runner.loop().watch(ours.get(), {.readable = true}, [&](FdReady ready) {
    readable += ready.readable;
    writable += ready.writable;
  });
  REQUIRE(watch);
  runner.run_for(5ms);
  CHECK(readable == 0);

  REQUIRE(::write(theirs.get(), "x", 1) == 1);
  REQUIRE(runner.run_until([&] { return readable > 0; }));
  CHECK(writable == 0);

  watch->set_interest({.writable = true});
  readable = 0;
  REQUIRE(runner.run_until([&] { return writable > 0; }));
  CHECK(readable == 0);

  watch->set_interest({});
  writable = 0;
  runner.run_for(5ms);
  CHECK(readable + writable == 0);

  watch->set_interest({.readable = true});
  theirs.reset();
  readable = 0;
  REQUIRE(runner.run_until([&] { return readable > 0; }));
}

TEST_CASE("a watch may destroy itself in its callback, and the descriptor stays open") {
  test::LoopRunner runner;
  UniqueFd event(::eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK));
  int calls = 0;
  std::unique_ptr<FdWatch> watch;
  watch = runner.loop().watch(event.get(), {.readable = true}, [&](FdReady) {
    ++calls;
    watch.reset();
  });
  REQUIRE(runner.run_until([&] { return calls > 0; }));
  runner.run_for(5ms);
  CHECK(calls == 1);
  std::uint64_t value = 0;
  CHECK(::read(event.get(), &value, sizeof value) == sizeof value);
}

TEST_CASE("a watch that another one's callback ended is not called, though it was ready too") {
  test::LoopRunner runner;
  UniqueFd one(::eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK));
  UniqueFd two(::eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK));
  int calls = 0;
  std::unique_ptr<FdWatch> first, second;
  first = runner.loop().watch(one.get(), {.readable = true}, [&](FdReady) {
    ++calls;
    first.reset();
    second.reset();
  });
  second = runner.loop().watch(two.get(), {.readable = true}, [&](FdReady) {
    ++calls;
    second.reset();
    first.reset();
  });
  REQUIRE(runner.run_until([&] { return calls > 0; }));
  runner.run_for(5ms);
  CHECK(calls == 1);
}

TEST_CASE("a watched descriptor may be read to its end, though it was made to block") {
  test::LoopRunner runner;
  UniqueFd event(::eventfd(1, EFD_CLOEXEC));
  int value_read = 0, none_left = 0;
  auto watch = runner.loop().watch(event.get(), {.readable = true}, [&](FdReady) {
    std::uint64_t value = 0;
    value_read += ::read(event.get(), &value, sizeof value) == sizeof value;
    none_left += ::read(event.get(), &value, sizeof value) < 0 && errno == EAGAIN;
  });
  REQUIRE(runner.run_until([&] { return value_read > 0; }));
  CHECK(none_left == 1);
}

TEST_CASE("one without interest at first is watched from the time when there is one") {
  test::LoopRunner runner;
  UniqueFd event(::eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK));
  int calls = 0;
  auto watch = runner.loop().watch(event.get(), {}, [&](FdReady) { ++calls; });
  REQUIRE(watch);
  runner.run_for(5ms);
  CHECK(calls == 0);
  watch->set_interest({.readable = true});
  REQUIRE(runner.run_until([&] { return calls > 0; }));
}

TEST_CASE("descriptors that are always ready hold up neither timers nor tasks") {
  test::LoopRunner runner;
  std::vector<UniqueFd> events;
  std::vector<std::unique_ptr<FdWatch>> watches;
  std::size_t calls = 0;
  // More than one wait gives.
  for (int i = 0; i < 300; ++i) {
    events.emplace_back(::eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK));
    watches.push_back(
        runner.loop().watch(events.back().get(), {.readable = true}, [&](FdReady) { ++calls; }));
  }
  int posted = 0, fired = 0;
  runner.loop().defer([&] { runner.loop().post([&] { ++posted; }); });
  auto timer = runner.loop().make_timer([&] { ++fired; });
  timer->start(1ms);
  REQUIRE(runner.run_until([&] { return posted == 1 && fired == 1; }));
  CHECK(calls > 0);
}

TEST_CASE("a descriptor's callback has the time at which it was ready, and so has a timer of it") {
  test::LoopRunner runner;
  UvLoop& loop = runner.loop();
  UniqueFd clock(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  const itimerspec after{.it_interval = {}, .it_value = {.tv_sec = 0, .tv_nsec = 200'000'000}};
  REQUIRE(::timerfd_settime(clock.get(), 0, &after, nullptr) == 0);
  TimePoint start = loop.now(), woken{}, fired{};
  auto timer = loop.make_timer([&] {
    fired = loop.now();
    loop.stop();
  });
  std::unique_ptr<FdWatch> watch;
  watch = loop.watch(clock.get(), {.readable = true}, [&](FdReady) {
    woken = loop.now();
    timer->start(100ms);
    watch.reset();
  });
  runner.run_for(1min);  // Nothing else may wake it meanwhile.
  CHECK(woken - start >= 199ms);
  CHECK(fired - start >= 299ms);
}

TEST_CASE("a descriptor that can't be waited for gives no watch") {
  test::LoopRunner runner;
  CHECK(runner.loop().watch(-1, {.readable = true}, [](FdReady) {}) == nullptr);
}
