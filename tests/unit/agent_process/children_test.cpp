#include "agent/process/children.h"

#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <map>

#include "base/loop_runner.h"

namespace sluice::agent {

namespace {

/// A child that ends with that code, or waits for a signal.
pid_t child(int code) {
  pid_t pid = ::fork();
  REQUIRE(pid >= 0);
  if (pid == 0) ::_exit(code);
  return pid;
}

pid_t waiting_child() {
  pid_t pid = ::fork();
  REQUIRE(pid >= 0);
  if (pid == 0) {
    for (;;) ::pause();
  }
  return pid;
}

struct Family {
  Family() : children(std::move(*Children::create(runner.loop()))) {}

  void add(pid_t pid) {
    children->add(pid, [this, pid](const Exit& exit) {
      ++told[pid];
      exits[pid] = exit;
    });
  }
  bool run_until_told(std::size_t count) {
    return runner.run_until([&] { return exits.size() >= count; });
  }

  test::LoopRunner runner;
  std::unique_ptr<Children> children;
  std::map<pid_t, Exit> exits;
  std::map<pid_t, int> told;
};

}  // namespace

TEST_CASE("each child's own exit is told, once") {
  Family family;
  std::map<pid_t, int> codes;
  for (int code = 0; code < 50; ++code) {
    pid_t pid = child(code);
    codes[pid] = code;
    family.add(pid);
  }
  REQUIRE(family.run_until_told(50));
  for (auto [pid, code] : codes) {
    CHECK(family.exits[pid].code == code);
    CHECK(family.exits[pid].signal == 0);
    CHECK(family.exits[pid].at_ns > 0);
    CHECK(family.told[pid] == 1);
  }
  CHECK(family.children->size() == 0);
}

TEST_CASE("a signal is told as such, and as shells count it") {
  Family family;
  pid_t pid = waiting_child();
  family.add(pid);
  ::kill(pid, SIGKILL);
  REQUIRE(family.run_until_told(1));
  CHECK(family.exits[pid].signal == SIGKILL);
  CHECK(family.exits[pid].code == 137);
  CHECK_FALSE(family.exits[pid].core_dumped);
}

TEST_CASE("a child that is stopped and goes on has not ended") {
  Family family;
  pid_t pid = waiting_child();
  family.add(pid);
  ::kill(pid, SIGSTOP);
  ::kill(pid, SIGCONT);
  family.runner.run_for(std::chrono::milliseconds(20));
  CHECK(family.exits.empty());
  ::kill(pid, SIGKILL);
  REQUIRE(family.run_until_told(1));
  CHECK(family.exits[pid].signal == SIGKILL);
}

TEST_CASE("a child that is forgotten is told of to nobody, and reaped all the same") {
  Family family;
  pid_t forgotten = waiting_child();
  family.add(forgotten);
  family.children->forget(forgotten);
  family.children->forget(99'999'999);
  ::kill(forgotten, SIGKILL);
  pid_t other = child(0);
  family.add(other);
  REQUIRE(family.runner.run_until(
      [&] { return ::kill(forgotten, 0) != 0 && family.exits.count(other) == 1; }));
  CHECK(family.told.count(forgotten) == 0);
  CHECK(family.children->orphans() == 0);
}

TEST_CASE("other processes' orphans are reaped and take no child's exit") {
  REQUIRE(::prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
  Family family;
  pid_t parent = ::fork();
  REQUIRE(parent >= 0);
  if (parent == 0) {
    pid_t self = ::getpid();
    for (int i = 0; i < 10; ++i) {
      if (::fork() == 0) {
        // An orphan before it ends, so that it is nobody's but the reaper's.
        while (::getppid() == self) ::usleep(1000);
        ::_exit(77);
      }
    }
    ::_exit(5);
  }
  family.add(parent);
  REQUIRE(family.runner.run_until(
      [&] { return family.exits.size() == 1 && family.children->orphans() == 10; }));
  CHECK(family.exits[parent].code == 5);
  CHECK(::waitpid(-1, nullptr, WNOHANG) == -1);
  ::prctl(PR_SET_CHILD_SUBREAPER, 0);
}

TEST_CASE("who is told of an end may make another child") {
  Family family;
  int rounds = 0;
  std::function<void()> again = [&] {
    family.children->add(child(rounds), [&](const Exit& exit) {
      CHECK(exit.code == rounds);
      if (++rounds < 10) again();
    });
  };
  again();
  CHECK(family.runner.run_until([&] { return rounds == 10; }));
}

}  // namespace sluice::agent
