#include "agent/process/children.h"

#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>

namespace sluice::agent {

namespace {

constexpr int kSignalBase = 128;
/// Ends of orphans that are remembered, for who comes to know of them later.
constexpr std::size_t kRememberedOrphans = 256;
constexpr int kUnknownCode = 255;

Exit exit_of(const siginfo_t& info, std::int64_t now) {
  Exit exit{.at_ns = now};
  if (info.si_code == CLD_EXITED) {
    exit.code = info.si_status;
  } else {
    exit.signal = info.si_status;
    exit.code = kSignalBase + info.si_status;
    exit.core_dumped = info.si_code == CLD_DUMPED;
  }
  return exit;
}

}  // namespace

Result<std::unique_ptr<Children>> Children::create(Loop& loop) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGCHLD);
  if (sigprocmask(SIG_BLOCK, &set, nullptr) != 0) return Status::from_errno(errno, "sigprocmask");
  std::unique_ptr<Children> children(new Children(loop));
  children->signals_.reset(::signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC));
  if (!children->signals_) return Status::from_errno(errno, "signalfd");
  children->watch_ = loop.watch(children->signals_.get(), {.readable = true},
                                [raw = children.get()](FdReady) { raw->reap(); });
  return children;
}

void Children::add(pid_t pid, OnExit on_exit) {
  siginfo_t info{};
  bool is_gone = ::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOHANG | WNOWAIT) != 0;
  if (is_gone && on_exit) {
    loop_.defer([on_exit = std::move(on_exit), exit = end_of_orphan(pid)] { on_exit(exit); });
  } else if (!is_gone) {
    running_[pid] = std::move(on_exit);
  }
}

/// Of one that is no child of ours any more. The latest of that number is the one.
Exit Children::end_of_orphan(pid_t pid) const {
  auto found = std::find_if(ended_.rbegin(), ended_.rend(),
                            [pid](const Orphan& orphan) { return orphan.pid == pid; });
  if (found != ended_.rend()) return found->exit;
  return {.code = kUnknownCode, .at_ns = loop_.wall_time_ns()};
}

void Children::forget(pid_t pid) {
  if (auto found = running_.find(pid); found != running_.end()) found->second = nullptr;
}

void Children::reap() {
  signalfd_siginfo ignored[16];
  while (::read(signals_.get(), ignored, sizeof ignored) > 0) {
  }
  for (;;) {
    siginfo_t info{};
    if (::waitid(P_ALL, 0, &info, WEXITED | WNOHANG) != 0) {
      if (errno == EINTR) continue;
      return;
    }
    if (info.si_pid == 0) return;
    auto found = running_.find(info.si_pid);
    if (found == running_.end()) {
      ++orphans_;
      ended_.push_back({.pid = info.si_pid, .exit = exit_of(info, loop_.wall_time_ns())});
      if (ended_.size() > kRememberedOrphans) ended_.pop_front();
      continue;
    }
    OnExit on_exit = std::move(found->second);
    running_.erase(found);
    if (on_exit) on_exit(exit_of(info, loop_.wall_time_ns()));
  }
}

}  // namespace sluice::agent
