#pragma once

#include <string>
#include <vector>

#include "agent/process/sealed_program.h"
#include "agent/process/spawn.h"

namespace sluice::agent {

/// The OCI runtime's command line (crun's; runc takes the same).
class Runtime {
 public:
  /// `program` is a path, `root` where it keeps its own state.
  Runtime(std::string program, std::string root)
      : program_(std::move(program)), root_(std::move(root)) {}
  /// By the copy of the program that another Runtime has.
  Runtime(std::string program, std::string root, UniqueFd copy)
      : program_(std::move(program), std::move(copy)), root_(std::move(root)) {}

  bool is_there() const;
  const std::string& program() const { return program_.path(); }
  const std::string& root() const { return root_; }
  /// What it keeps of a container.
  std::string directory(const std::string& id) const { return root_ + "/" + id; }
  /// Of the program's copy (SealedProgram), -1 where there is none.
  int copy() {
    program_.executable();
    return program_.descriptor();
  }

  /// `state` is the container's state directory, and its bundle. A terminal's master goes to
  /// `console`, where that isn't empty.
  SpawnPlan create(const std::string& id, const std::string& state, const std::string& console);
  SpawnPlan start(const std::string& id, const std::string& state);
  /// What `start` does, without a run of the runtime: crun's container waits for a byte in a FIFO.
  /// False where that isn't so; start() is the way then, and tells what is wrong.
  bool release(const std::string& id) const;
  SpawnPlan remove(const std::string& id, const std::string& state);
  /// A process as `process_file` (JSON) has it; its pid comes into `pid_file`.
  SpawnPlan exec(const std::string& id, const std::string& log, const std::string& process_file,
                 const std::string& pid_file, const std::string& console);

 private:
  SpawnPlan plan(const std::string& log, std::vector<std::string> args);

  SealedProgram program_;
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
