#include "agent/process/spawn.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "agent_process/temp_root.h"
#include "base/unique_fd.h"

namespace sluice::agent {

namespace {

SpawnPlan shell(const std::string& script) {
  SpawnPlan plan;
  plan.program = "/bin/sh";
  plan.args = {"sh", "-c", script};
  plan.env = {"PATH=/usr/bin:/bin"};
  return plan;
}

int code_of(pid_t pid) {
  int status = 0;
  REQUIRE(::waitpid(pid, &status, 0) == pid);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/// What the program writes on its standard output.
std::string output_of(SpawnPlan plan) {
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  UniqueFd reader(ends[0]);
  UniqueFd writer(ends[1]);
  plan.stdio[1] = writer.get();
  Spawned spawned = spawn(plan);
  REQUIRE(spawned.pid > 0);
  writer.reset();
  std::string out;
  char piece[4096];
  for (ssize_t got; (got = ::read(reader.get(), piece, sizeof piece)) > 0;) {
    out.append(piece, static_cast<std::size_t>(got));
  }
  code_of(spawned.pid);
  return out;
}

void expect_failure(const SpawnPlan& plan, int error, const std::string& step) {
  Spawned spawned = spawn(plan);
  CHECK(spawned.pid == -1);
  CHECK(spawned.error == error);
  CHECK(spawned.step == step);
  // Nothing is left of the child.
  CHECK(::waitpid(-1, nullptr, WNOHANG) == -1);
  CHECK(errno == ECHILD);
}

}  // namespace

TEST_CASE("a program that can't be run says at which step and why") {
  SpawnPlan plan = shell("true");
  plan.program = "/no/such";
  expect_failure(plan, ENOENT, "execve /no/such");
  plan.program = "/etc";
  expect_failure(plan, EACCES, "execve /etc");
  plan = shell("true");
  plan.cwd = "/no/where";
  expect_failure(plan, ENOENT, "chdir /no/where");
  plan = shell("true");
  plan.stdio = {99, -1, -1};
  expect_failure(plan, EBADF, "standard streams");
  plan = shell("true");
  plan.controlling_terminal = true;
  expect_failure(plan, ENOTTY, "controlling terminal");
}

TEST_CASE("a program runs in its directory, with its environment and arguments alone") {
  ::setenv("LEAKED", "yes", 1);
  SpawnPlan plan = shell("pwd; env; echo \"$0 $1\"");
  plan.args.insert(plan.args.end(), {"zero", "a b"});
  plan.cwd = "/usr";
  std::string out = output_of(plan);
  CHECK(out.starts_with("/usr\n"));
  CHECK(out.ends_with("zero a b\n"));
  CHECK(out.find("LEAKED") == std::string::npos);
}

TEST_CASE("a program has no descriptor but its three") {
  UniqueFd leaked(::open("/dev/null", O_RDONLY));  // Not close-on-exec.
  UniqueFd high(::fcntl(leaked.get(), F_DUPFD, 200));
  // The fourth is the directory that it looks into.
  CHECK(output_of(shell("exec ls -1 /proc/self/fd")) == "0\n1\n2\n3\n");
}

TEST_CASE("streams are put in their places though they are in each other's") {
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  UniqueFd reader(ends[0]);
  UniqueFd writer(ends[1]);
  // The test's own 1 as the program's 2, and the other way round.
  SpawnPlan plan = shell("echo to the pipe >&2");
  plan.stdio = {-1, STDERR_FILENO, writer.get()};
  Spawned spawned = spawn(plan);
  REQUIRE(spawned.pid > 0);
  CHECK(code_of(spawned.pid) == 0);
  char text[64];
  ssize_t got = ::read(reader.get(), text, sizeof text);
  CHECK(std::string(text, static_cast<std::size_t>(std::max<ssize_t>(got, 0))) == "to the pipe\n");
}

TEST_CASE("a program has usual signals whatever its parent ignores and blocks") {
  std::signal(SIGUSR1, SIG_IGN);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR2);
  sigset_t before;
  ::sigprocmask(SIG_BLOCK, &set, &before);
  std::string out = output_of(shell("exec grep -E 'Sig(Blk|Ign)' /proc/self/status"));
  ::sigprocmask(SIG_SETMASK, &before, nullptr);
  std::signal(SIGUSR1, SIG_DFL);
  CHECK(out == "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
}

TEST_CASE("a program leads a session of its own") {
  SpawnPlan plan = shell("set -- $(cut -d' ' -f1,5,6 /proc/$$/stat); test $1 = $2 -a $2 = $3");
  Spawned spawned = spawn(plan);
  REQUIRE(spawned.pid > 0);
  CHECK(code_of(spawned.pid) == 0);
}

TEST_CASE("a program becomes its user, whole") {
  if (::geteuid() != 0) {
    SpawnPlan plan = shell("true");
    plan.identity.uid = ::geteuid() + 1;
    expect_failure(plan, EPERM, "setuid " + std::to_string(plan.identity.uid));
    return;
  }
  SpawnPlan plan = shell("id -u; id -g; id -G; grep CapEff /proc/$$/status");
  plan.identity.uid = 1234;
  plan.identity.gid = 2345;
  plan.identity.groups = {5, 6};
  CHECK(output_of(plan) == "1234\n2345\n2345 5 6\nCapEff:\t0000000000000000\n");
}

TEST_CASE("a directory is entered as the user, not as root") {
  if (::geteuid() != 0) return;
  TempRoot root;
  std::filesystem::permissions(root.path(), std::filesystem::perms(0700));
  SpawnPlan plan = shell("true");
  plan.identity.uid = 1234;
  plan.cwd = root.path();
  expect_failure(plan, EACCES, "chdir " + root.path());
}

TEST_CASE("a program is looked for along PATH, from its directory") {
  TempRoot root;
  std::string tool = root.write("bin/tool", "#!/bin/sh\n", true);
  root.write("plain/tool", "");
  std::filesystem::create_directories(root.path() + "/folder/tool");
  const std::string& at = root.path();
  int error = -1;
  auto find = [&](const std::string& path, const std::string& cwd = "/") {
    return find_program("tool", path, cwd, error);
  };
  CHECK(find(at + "/bin") == tool);
  CHECK(error == 0);
  CHECK(find("/nowhere:" + at + "/plain:" + at + "/folder:" + at + "/bin") == tool);
  CHECK(find("/nowhere:" + at + "/folder").empty());
  CHECK(error == ENOENT);
  CHECK(find(at + "/plain:/nowhere").empty());
  CHECK(error == EACCES);
  CHECK(find("").empty());
  CHECK(error == ENOENT);
  // Relative and empty entries are the program's directory's, not the agent's.
  CHECK(find("bin", at) == at + "/bin/tool");
  CHECK_FALSE(find(":/nowhere", at + "/bin").empty());
  CHECK(find("bin").empty());
}

TEST_CASE("a name with a slash is taken as it is") {
  int error = -1;
  CHECK(find_program("./x", "/bin", "/", error) == "./x");
  CHECK(error == 0);
  CHECK(find_program("/a/b", "", "/", error) == "/a/b");
  CHECK(find_program("", "/bin", "/", error).empty());
  CHECK(error == ENOENT);
}

}  // namespace sluice::agent
