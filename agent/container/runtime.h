#pragma once

#include <string>
#include <vector>

#include "agent/process/spawn.h"

namespace sluice::agent {

/// The OCI runtime's command line (crun's; runc takes the same).
class Runtime {
 public:
  /// `program` is a path, `root` where it keeps its own state.
  Runtime(std::string program, std::string root)
      : program_(std::move(program)), root_(std::move(root)) {}

  bool is_there() const;
  const std::string& program() const { return program_; }
  const std::string& root() const { return root_; }

  /// `state` is the container's state directory, and its bundle. A terminal's master goes to
  /// `console`, where that isn't empty.
  SpawnPlan create(const std::string& id, const std::string& state,
                   const std::string& console) const;
  SpawnPlan start(const std::string& id, const std::string& state) const;
  SpawnPlan remove(const std::string& id, const std::string& state) const;
  /// A process as `process_file` (JSON) has it; its pid comes into `pid_file`.
  SpawnPlan exec(const std::string& id, const std::string& log, const std::string& process_file,
                 const std::string& pid_file, const std::string& console) const;

 private:
  SpawnPlan plan(const std::string& log, std::vector<std::string> args) const;

  std::string program_;
  std::string root_;
};

/// Why a runtime says that it failed.
struct RuntimeFailure {
  int error = 0;         ///< errno, where it can be told.
  bool program = false;  ///< It is the program that can't be run, and not the container.
  std::string text;
};
/// Reads what it has written to its log.
RuntimeFailure runtime_failure(const std::string& log);

}  // namespace sluice::agent
