#pragma once

#include <map>
#include <memory>
#include <string>

#include "agent/process/children.h"
#include "agent/supervise/supervisor.h"
#include "base/loop.h"
#include "base/unique_fd.h"

namespace sluice::agent {

/// Services as programs of this machine: each leads a session of its own, in a cgroup of its own
/// where there is cgroup2, with its standard output and error coming to us.
class LocalServices final : public ServiceRunner {
 public:
  /// `cgroup_root` is where cgroup2 is mounted, if it is.
  LocalServices(Loop& loop, Children& children, std::string cgroup_root)
      : loop_(loop), children_(children), cgroup_root_(std::move(cgroup_root)) {}

  Result<pid_t> start(const ServiceSpec& spec, Hooks hooks) override;
  void signal(pid_t pid, int signal) override;
  void kill_all(const ServiceSpec& spec, pid_t pid) override;
  std::unique_ptr<Probe> probe(const Readiness& ready,
                               std::function<void(bool)> on_answer) override;

 private:
  struct Output {
    UniqueFd fd;
    std::unique_ptr<FdWatch> watch;
    std::function<void(std::string_view)> on_output;
  };
  std::string cgroup_of(const ServiceSpec& spec) const;
  /// By value: what it is called with goes with the watch.
  void read(std::string name);

  Loop& loop_;
  Children& children_;
  std::string cgroup_root_;
  std::map<std::string, Output> outputs_;  ///< By service.
};

}  // namespace sluice::agent
