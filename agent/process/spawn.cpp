#include "agent/process/spawn.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <linux/close_range.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>

#include "agent/os/text.h"
#include "agent/process/descriptor_limit.h"
#include "base/unique_fd.h"

namespace sluice::agent {

namespace {

enum class Step : int { stdio, session, terminal, cgroup, groups, gid, uid, chdir, exec };

/// What the child says over the pipe when it can't become the program.
struct Failure {
  Step step;
  int error;
};

std::vector<char*> pointers_to(const std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  for (const std::string& one : strings) pointers.push_back(const_cast<char*>(one.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

std::string describe(Step step, const SpawnPlan& plan) {
  switch (step) {
    case Step::stdio:
      return "standard streams";
    case Step::session:
      return "setsid";
    case Step::terminal:
      return "controlling terminal";
    case Step::cgroup:
      return plan.cgroup_procs;
    case Step::groups:
      return "setgroups";
    case Step::gid:
      return fmt::format("setgid {}", plan.identity.gid);
    case Step::uid:
      return fmt::format("setuid {}", plan.identity.uid);
    case Step::chdir:
      return "chdir " + plan.cwd;
    case Step::exec:
      return "execve " + plan.program;
  }
  return "";
}

/// The child's part. Between fork and exec, so nothing here allocates.
class Child {
 public:
  Child(const SpawnPlan& plan, char* const* args, char* const* env, int failure_pipe)
      : plan_(plan), args_(args), env_(env), failure_pipe_(failure_pipe) {}

  [[noreturn]] void run() {
    reset_signals();
    take_stdio();
    if (setsid() < 0) fail(Step::session);
    if (plan_.controlling_terminal && ioctl(0, TIOCSCTTY, 0) != 0) fail(Step::terminal);
    if (!plan_.cgroup_procs.empty() && !write_zero(plan_.cgroup_procs.c_str())) {
      fail(Step::cgroup);
    }
    write_zero("/proc/self/oom_score_adj");
    restore_descriptor_limit();
    become();
    if (::chdir(plan_.cwd.c_str()) != 0) fail(Step::chdir);
    ::execve(plan_.program.c_str(), args_, env_);
    fail(Step::exec);
  }

 private:
  [[noreturn]] void fail(Step step) {
    Failure failure{step, errno};
    [[maybe_unused]] ssize_t told = ::write(failure_pipe_, &failure, sizeof failure);
    ::_exit(127);
  }

  static void reset_signals() {
    struct sigaction usual{};
    usual.sa_handler = SIG_DFL;
    for (int number = 1; number < NSIG; ++number) ::sigaction(number, &usual, nullptr);
    sigset_t none;
    sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
  }

  void take_stdio() {
    // First out of the way of 0 to 2, then into place.
    int sources[3];
    for (int i = 0; i < 3; ++i) {
      int fd = plan_.stdio[static_cast<std::size_t>(i)];
      sources[i] =
          fd >= 0 ? ::fcntl(fd, F_DUPFD_CLOEXEC, 3) : ::open("/dev/null", O_RDWR | O_CLOEXEC);
      if (sources[i] < 0) fail(Step::stdio);
      if (sources[i] < 3) sources[i] = ::fcntl(sources[i], F_DUPFD_CLOEXEC, 3);
    }
    if (failure_pipe_ < 3) failure_pipe_ = ::fcntl(failure_pipe_, F_DUPFD_CLOEXEC, 3);
    for (int i = 0; i < 3; ++i) {
      if (::dup2(sources[i], i) < 0) fail(Step::stdio);
    }
    // All of ours are close-on-exec; what somebody gave us is not, perhaps.
    ::syscall(SYS_close_range, 3U, ~0U, CLOSE_RANGE_CLOEXEC);
  }

  /// "0" is this process to cgroup.procs, and the kernel's usual place to oom_score_adj.
  static bool write_zero(const char* path) {
    int fd = ::open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return false;
    bool written = ::write(fd, "0", 1) == 1;
    ::close(fd);
    return written;
  }

  void become() {
    const Identity& identity = plan_.identity;
    if (::geteuid() != 0) {
      // Without privileges only what is true already can be asked for.
      if (identity.uid != ::geteuid()) {
        errno = EPERM;
        fail(Step::uid);
      }
      return;
    }
    if (::setgroups(identity.groups.size(), identity.groups.data()) != 0) fail(Step::groups);
    if (::setresgid(identity.gid, identity.gid, identity.gid) != 0) fail(Step::gid);
    if (::setresuid(identity.uid, identity.uid, identity.uid) != 0) fail(Step::uid);
  }

  const SpawnPlan& plan_;
  char* const* args_;
  char* const* env_;
  int failure_pipe_;
};

}  // namespace

Spawned spawn(const SpawnPlan& plan) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return {.error = errno, .step = "pipe"};
  UniqueFd reader(ends[0]);
  UniqueFd writer(ends[1]);
  std::vector<char*> args = pointers_to(plan.args);
  std::vector<char*> env = pointers_to(plan.env);

  pid_t pid = ::fork();
  if (pid < 0) return {.error = errno, .step = "fork"};
  if (pid == 0) Child(plan, args.data(), env.data(), writer.get()).run();

  writer.reset();
  Failure failure{};
  ssize_t got;
  do {
    got = ::read(reader.get(), &failure, sizeof failure);
  } while (got < 0 && errno == EINTR);
  if (got != sizeof failure) return {.pid = pid};
  while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
  }
  return {.error = failure.error, .step = describe(failure.step, plan)};
}

std::string find_program(const std::string& name, std::string_view path, const std::string& cwd,
                         int& error) {
  error = 0;
  if (name.find('/') != std::string::npos) return name;
  error = ENOENT;
  while (!path.empty() && !name.empty()) {
    std::string_view directory = take_part(path, ':');
    bool is_absolute = directory.starts_with('/');
    std::string candidate = is_absolute ? fmt::format("{}/{}", directory, name)
                                        : fmt::format("{}/{}/{}", cwd, directory, name);
    struct stat found{};
    if (::stat(candidate.c_str(), &found) != 0 || !S_ISREG(found.st_mode)) continue;
    if ((found.st_mode & 0111) != 0) {
      error = 0;
      return candidate;
    }
    error = EACCES;
  }
  return {};
}

}  // namespace sluice::agent
