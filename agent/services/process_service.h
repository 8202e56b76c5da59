#pragma once

#include <functional>
#include <memory>
#include <string>
#include <unordered_map>

#include "agent/process/children.h"
#include "agent/process/process_table.h"
#include "agent/process/spawn.h"
#include "agent/rpc/call.h"
#include "base/loop.h"

namespace sluice::agent {

/// The service Process: programs in the VM itself. One thread. Must outlive the connections whose
/// calls it serves.
class ProcessService {
 public:
  ProcessService(Loop& loop, Children& children) : loop_(loop), children_(children) {}
  ProcessService(const ProcessService&) = delete;
  ProcessService& operator=(const ProcessService&) = delete;

  void add_to(rpc::Methods& methods);
  /// SIGTERM, or what else, to every process group that runs.
  void signal_all(int signal);
  bool any_running() const { return !running_.empty(); }
  std::size_t running() const { return running_.size(); }
  /// Called for each program that has ended, after all who wait for it.
  void set_exit_listener(std::function<void(const ProcessTable::Process&)> listener) {
    exit_listener_ = std::move(listener);
  }
  Children& children() { return children_; }
  /// Takes a child that nobody waits for, and ends it.
  void adopt_and_end(pid_t pid, const std::vector<std::string>& args) {
    abandon(started(pid, args, nullptr, Duration{}));
  }

 private:
  friend class ExecCall;

  /// Who is told of the end, as long as it is there.
  class Watcher {
   public:
    virtual void on_process_exit(const ProcessTable::Process& process) = 0;

   protected:
    ~Watcher() = default;
  };

  struct Running {
    pid_t pid = -1;
    pid_t group = -1;  ///< When it began; what a runtime started leads none.
    Watcher* watcher = nullptr;
    bool abandoned = false;
    bool timed_out = false;
    bool kill_is_timeout = false;
    TimePoint kill_at = TimePoint::max();
    std::unique_ptr<Timer> kill_timer;
  };

  /// Registers a child that has just been made; returns its id.
  std::string started(pid_t pid, const std::vector<std::string>& args, Watcher* watcher,
                      Duration timeout);
  /// Its watcher has gone: SIGHUP now, SIGKILL when kAbandonGrace is over.
  void abandon(const std::string& id);
  void signal(const std::string& id, int signal, bool group);
  void on_exit(const std::string& id, const Exit& exit);
  void kill_after(Running& running, Duration delay);
  void kill_group(const std::string& id);

  Loop& loop_;
  Children& children_;
  ProcessTable table_;
  std::unordered_map<std::string, Running> running_;
  /// Abandoned groups whose leader has ended and others have not.
  std::unordered_map<std::string, Running> leaderless_;
  std::function<void(const ProcessTable::Process&)> exit_listener_;
};

}  // namespace sluice::agent
