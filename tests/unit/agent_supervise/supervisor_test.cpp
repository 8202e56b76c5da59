#include "agent/supervise/supervisor.h"

#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <csignal>
#include <map>

#include "support/virtual_loop.h"

namespace sluice::agent {

namespace {

using namespace std::chrono_literals;
using State = Supervisor::State;
using test::VirtualLoop;

/// Services that are no processes, and what was done to them.
class Script final : public ServiceRunner {
 public:
  Result<pid_t> start(const ServiceSpec& spec, Hooks hooks) override {
    if (missing.contains(spec.name)) {
      done += "fail " + spec.name + ";";
      return Status(StatusCode::not_found, "there is no such program");
    }
    done += "start " + spec.name + ";";
    running[++last_pid] = {spec.name, std::move(hooks)};
    return last_pid;
  }
  void signal(pid_t pid, int) override {
    done += "term " + running[pid].first + ";";
    if (!stubborn) exit(running[pid].first, {.code = 143, .signal = SIGTERM});
  }
  void kill_all(const ServiceSpec& spec, pid_t pid) override {
    if (!running.contains(pid)) return;
    done += "kill " + spec.name + ";";
    exit(spec.name, {.code = 137, .signal = SIGKILL});
  }
  std::unique_ptr<Probe> probe(const Readiness& ready,
                               std::function<void(bool)> on_answer) override {
    ++probes;
    answers[ready.unix_socket] = std::move(on_answer);
    return std::make_unique<Probe>();
  }

  /// Told from the loop, as the kernel's word is.
  void exit(const std::string& name, Exit exit) {
    for (auto& [pid, one] : running) {
      if (one.first != name) continue;
      loop.defer([hooks = one.second, exit] { hooks.on_exit(exit); });
      running.erase(pid);
      return;
    }
  }
  void answer(const std::string& socket, bool ready) {
    answers[socket](ready);
    loop.run_ready();
  }

  VirtualLoop loop;
  std::string done;
  std::map<std::string, bool> missing;
  std::map<pid_t, std::pair<std::string, Hooks>> running;
  std::map<std::string, std::function<void(bool)>> answers;
  bool stubborn = false;
  int probes = 0;
  pid_t last_pid = 100;
};

ServiceSpec service(std::string name, std::vector<std::string> after = {},
                    std::string socket = "") {
  ServiceSpec spec{.name = std::move(name), .command = {"x"}, .after = std::move(after)};
  spec.ready.unix_socket = std::move(socket);
  return spec;
}

struct Fixture {
  Script script;
  Supervisor supervisor{script.loop, script};

  Supervisor::View view(const std::string& name) {
    for (auto& one : supervisor.list()) {
      if (one.name == name) return one;
    }
    return {};
  }
  void exit(const std::string& name, Exit exit = {.code = 1}) {
    script.exit(name, exit);
    script.loop.run_ready();
  }
};

}  // namespace

TEST_CASE_METHOD(Fixture, "a service starts when what it is after is ready, and not before") {
  supervisor.start({service("a", {}, "/a"), service("b", {"a"})});
  CHECK(script.done == "start a;");
  CHECK(view("a").state == State::starting);
  CHECK(view("b").problem == "waits for a");
  script.answer("/a", false);
  CHECK(script.done == "start a;");
  script.loop.advance(20ms);
  script.answer("/a", true);
  CHECK(script.done == "start a;start b;");
  CHECK(view("a").state == State::ready);
  CHECK(view("b").state == State::ready);
}

TEST_CASE_METHOD(Fixture, "ready never outlives the process") {
  supervisor.start({service("a", {}, "/a")});
  script.answer("/a", true);
  REQUIRE(view("a").state == State::ready);
  exit("a", {.code = 139, .signal = SIGSEGV});
  CHECK(view("a").state == State::backoff);
  CHECK(view("a").pid == 0);
  CHECK(view("a").problem == "ended by signal 11");
  script.loop.advance(100ms);
  // The next one has to show it anew.
  CHECK(view("a").state == State::starting);
  CHECK(view("a").restarts == 1);
}

TEST_CASE_METHOD(Fixture, "an answer about a process that has ended makes nobody ready") {
  supervisor.start({service("a", {}, "/a")});
  auto late = script.answers["/a"];
  exit("a");
  late(true);
  script.loop.run_ready();
  CHECK(view("a").state == State::backoff);
}

TEST_CASE_METHOD(Fixture, "restarts come later each time, up to a minute; a good run starts over") {
  supervisor.start({service("a")});
  for (Duration delay : {100ms, 200ms, 400ms, 800ms, 1600ms}) {
    exit("a");
    script.loop.advance(delay - 1ms);
    CHECK(view("a").state == State::backoff);
    script.loop.advance(1ms);
    CHECK(view("a").state == State::ready);
  }
  for (int i = 0; i < 10; ++i) {
    exit("a");
    script.loop.advance(1min);
    REQUIRE(view("a").state == State::ready);
    exit("a");
    script.loop.advance(1min);
  }
  script.loop.advance(10s);
  exit("a");
  script.loop.advance(100ms);
  CHECK(view("a").state == State::ready);
}

TEST_CASE_METHOD(Fixture, "a program that is not there is tried again, and says why") {
  script.missing["a"] = true;
  supervisor.start({service("a")});
  CHECK(view("a").state == State::backoff);
  CHECK(view("a").problem == "there is no such program");
  script.missing.clear();
  script.loop.advance(100ms);
  CHECK(view("a").state == State::ready);
}

TEST_CASE_METHOD(Fixture, "what isn't to be restarted isn't, and who comes after it goes on") {
  ServiceSpec once = service("once", {}, "/once");
  once.restart = ServiceSpec::Restart::on_failure;
  supervisor.start({once, service("b", {"once"})});
  exit("once", {.code = 1});
  script.loop.advance(100ms);
  CHECK(script.done == "start once;start once;");
  exit("once", {.code = 0});
  CHECK(view("once").state == State::ended);
  CHECK(view("b").state == State::ready);
}

TEST_CASE_METHOD(Fixture, "services stop in reverse, each before what it is after") {
  supervisor.start({service("a"), service("b", {"a"}), service("c", {"b"})});
  script.done.clear();
  bool done = false;
  supervisor.stop(1min, [&] { done = true; });
  CHECK(script.done == "term c;");
  CHECK_FALSE(done);
  script.loop.run_ready();
  CHECK(script.done == "term c;term b;term a;");
  CHECK(done);
  CHECK(view("a").state == State::stopped);
  CHECK(view("a").pid == 0);
}

TEST_CASE_METHOD(Fixture, "one that doesn't stop is killed when its grace is over") {
  ServiceSpec spec = service("a");
  spec.stop_grace = 3s;
  supervisor.start({spec});
  script.stubborn = true;
  script.done.clear();
  bool done = false;
  supervisor.stop(1min, [&] { done = true; });
  script.loop.advance(3s - 1ms);
  CHECK(script.done == "term a;");
  script.loop.advance(1ms);
  CHECK(script.done == "term a;kill a;");
  CHECK(done);
}

TEST_CASE_METHOD(Fixture, "the limit is for all together, and a second order only shortens it") {
  supervisor.start({service("a"), service("b", {"a"})});
  script.stubborn = true;
  script.done.clear();
  bool done = false;
  supervisor.stop(5s, [&] { done = true; });
  supervisor.stop(1h, {});
  supervisor.stop(2s, {});
  script.loop.advance(2s);
  script.loop.advance(1ms);
  CHECK(script.done == "term b;kill b;term a;kill a;");
  CHECK(done);
}

TEST_CASE_METHOD(Fixture, "stopping calls off restarts, and starts nobody that waited") {
  script.missing["a"] = true;
  supervisor.start({service("a"), service("b", {"a"})});
  bool done = false;
  supervisor.stop(1min, [&] { done = true; });
  script.loop.run_ready();
  CHECK(done);
  script.done.clear();
  script.loop.advance(1h);
  CHECK(script.done.empty());
  CHECK(script.loop.active_timers() == 0);
}

TEST_CASE_METHOD(Fixture, "what a service writes is kept over its restarts") {
  supervisor.start({service("a")});
  script.running.begin()->second.second.on_output("one\n");
  exit("a");
  script.loop.advance(100ms);
  script.running.begin()->second.second.on_output("two\n");
  CHECK(supervisor.output("a")->text() == "one\ntwo\n");
  CHECK(supervisor.output("b") == nullptr);
}

namespace {

using Order = Supervisor::Order;
using Names = std::vector<std::string>;

/// a <- b <- c, and d by itself.
std::vector<ServiceSpec> chain() {
  return {service("a"), service("b", {"a"}), service("c", {"b"}), service("d")};
}

}  // namespace

TEST_CASE_METHOD(Fixture, "one that is stopped by order takes along who is after it, and stays") {
  supervisor.start(chain());
  script.done.clear();
  CHECK(*supervisor.order("b", Order::stop) == Names{"c"});
  CHECK(script.done == "term c;");
  CHECK_FALSE(supervisor.outcome("b", Order::stop));
  script.loop.run_ready();
  CHECK(script.done == "term c;term b;");
  CHECK(supervisor.outcome("b", Order::stop)->is_ok());
  script.loop.advance(1h);
  CHECK(script.done == "term c;term b;");
  CHECK(view("a").state == State::ready);
  CHECK(view("b").state == State::stopped);
  CHECK(view("c").state == State::stopped);
  // There is nothing left to do.
  CHECK(supervisor.order("b", Order::stop)->empty());
  CHECK(supervisor.outcome("b", Order::stop)->is_ok());
}

TEST_CASE_METHOD(Fixture, "one that is started by order starts behind what it is after") {
  supervisor.start(chain());
  REQUIRE(supervisor.order("a", Order::stop));
  script.loop.run_ready();
  script.done.clear();
  CHECK(*supervisor.order("b", Order::start) == Names{"a"});
  CHECK(script.done == "start a;start b;");
  CHECK(supervisor.outcome("b", Order::start)->is_ok());
  // Nobody asked for it.
  CHECK(view("c").state == State::stopped);
  CHECK(supervisor.order("b", Order::start)->empty());
  CHECK(script.done == "start a;start b;");
}

TEST_CASE_METHOD(Fixture, "a restart brings back what it has stopped, and nobody else") {
  supervisor.start(chain());
  REQUIRE(supervisor.order("c", Order::stop));
  script.loop.run_ready();
  script.done.clear();
  CHECK(*supervisor.order("a", Order::restart) == Names{"b"});
  CHECK_FALSE(supervisor.outcome("a", Order::restart));
  script.loop.run_ready();
  CHECK(script.done == "term b;term a;start a;start b;");
  CHECK(supervisor.outcome("a", Order::restart)->is_ok());
  CHECK(view("c").state == State::stopped);
}

TEST_CASE_METHOD(Fixture, "an order to start waits for ready, and says how it ended before") {
  supervisor.start({service("a", {}, "/a")});
  CHECK_FALSE(supervisor.outcome("a", Order::start));
  exit("a", {.code = 3});
  CHECK(supervisor.outcome("a", Order::start)->message() == "a: exited with 3");
  // It needn't wait for its back-off.
  REQUIRE(supervisor.order("a", Order::start));
  CHECK(view("a").state == State::starting);
  script.answer("/a", true);
  CHECK(supervisor.outcome("a", Order::start)->is_ok());
}

TEST_CASE_METHOD(Fixture, "an order to start overtakes one to stop, and the other way round") {
  script.stubborn = true;
  supervisor.start({service("a"), service("b", {"a"})});
  REQUIRE(supervisor.order("a", Order::stop));
  REQUIRE(view("b").state == State::stopping);
  SECTION("of one that has been asked to end") {
    REQUIRE(supervisor.order("b", Order::start));
    CHECK(supervisor.outcome("a", Order::stop)->code() == StatusCode::refused);
    CHECK_FALSE(supervisor.outcome("b", Order::start));
    exit("b", {.code = 0});
    CHECK(supervisor.outcome("b", Order::start)->is_ok());
    CHECK(view("a").state == State::ready);
  }
  SECTION("and the guest's end overtakes all") {
    bool done = false;
    supervisor.stop(1s, [&] { done = true; });
    CHECK(supervisor.order("a", Order::start).status().code() == StatusCode::refused);
    CHECK(supervisor.outcome("a", Order::stop)->code() == StatusCode::refused);
    // Its limit is the shorter one.
    script.loop.advance(1s);
    script.loop.advance(1ms);
    CHECK(done);
  }
  SECTION("a second stop is the same one") {
    REQUIRE(supervisor.order("b", Order::stop));
    script.loop.advance(10s);
    script.loop.advance(10s);
    CHECK(supervisor.outcome("a", Order::stop)->is_ok());
    CHECK(supervisor.outcome("b", Order::stop)->is_ok());
  }
}

TEST_CASE_METHOD(Fixture, "an order about nobody names who there is") {
  supervisor.start({service("a"), service("b")});
  Status status = supervisor.order("x", Order::stop).status();
  CHECK(status.code() == StatusCode::not_found);
  CHECK(status.message() == "there is no service x; there are a, b");
}

TEST_CASE_METHOD(Fixture, "each change is told in order, and who watches is told from the loop") {
  std::string told;
  supervisor.set_observer([&](const Supervisor::Change& change) {
    static constexpr const char* kWords[] = {"started", "ready",    "ended",
                                             "failed",  "given up", "stopped"};
    told += change.name + " " + kWords[static_cast<int>(change.kind)];
    if (change.kind == Supervisor::Change::Kind::ended) {
      told += fmt::format(" {}/{}", change.exit.code, change.exit.signal);
      CHECK(change.pid > 100);
    }
    told += ";";
  });
  int watched = 0;
  auto number = supervisor.watch([&] { ++watched; });
  ServiceSpec once = service("once", {}, "/once");
  once.restart = ServiceSpec::Restart::never;
  script.missing["gone"] = true;
  supervisor.start({once, service("gone")});
  CHECK(told == "once started;gone failed;");
  CHECK(watched == 0);
  script.loop.run_ready();
  CHECK(watched == 1);
  script.answer("/once", true);
  exit("once", {.code = 139, .signal = SIGSEGV});
  CHECK(told == "once started;gone failed;once ready;once ended 139/11;once given up;");
  supervisor.unwatch(number);
  told.clear();
  REQUIRE(supervisor.order("gone", Order::stop));
  CHECK(told == "gone stopped;");
}

}  // namespace sluice::agent
