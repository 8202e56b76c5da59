#pragma once

#include <net/status.h>
#include <sys/types.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <unordered_map>

#include "base/loop.h"
#include "base/unique_fd.h"

namespace sluice::agent {

/// How a process ended.
struct Exit {
  int code = 0;    ///< Its own, or 128 + signal, as shells have it.
  int signal = 0;  ///< 0: it ended by itself.
  bool core_dumped = false;
  std::int64_t at_ns = 0;  ///< Wall clock, since the epoch.
};

/// The one place where children are waited for, our own and, of PID 1, everybody's orphans. So a
/// pid that is registered here is that child's until its exit is told, and may be signalled.
class Children {
 public:
  using OnExit = std::function<void(const Exit&)>;

  /// Blocks SIGCHLD in this thread. One per process, made before any child.
  static Result<std::unique_ptr<Children>> create(Loop& loop);
  Children(const Children&) = delete;
  Children& operator=(const Children&) = delete;

  /// Called right after the child was made, before the loop turns; or of one that another process
  /// has made and left to us, which may have ended and been reaped by then. `on_exit` is called
  /// once, from the loop.
  void add(pid_t pid, OnExit on_exit);
  /// Its exit is told to nobody any more; it is reaped all the same.
  void forget(pid_t pid);
  std::size_t size() const { return running_.size(); }
  /// What was reaped without being known here.
  std::uint64_t orphans() const { return orphans_; }

 private:
  explicit Children(Loop& loop) : loop_(loop) {}
  void reap();
  Exit end_of_orphan(pid_t pid) const;

  struct Orphan {
    pid_t pid;
    Exit exit;
  };

  Loop& loop_;
  std::unordered_map<pid_t, OnExit> running_;
  std::uint64_t orphans_ = 0;
  std::deque<Orphan> ended_;  ///< The latest orphans.
  UniqueFd signals_;
  std::unique_ptr<FdWatch> watch_;
};

}  // namespace sluice::agent
