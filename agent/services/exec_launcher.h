#pragma once

#include <array>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "agent/process/terminal.h"
#include "agent/rpc/call.h"
#include "base/unique_fd.h"
#include "sluice/agent/v1/process.pb.h"

namespace sluice::agent {

/// How the program of one ExecCall comes to run: in the VM, or in a container.
class ExecLauncher {
 public:
  struct Streams {
    std::array<int, 3> stdio{-1, -1, -1};  ///< Stay the caller's. -1 is /dev/null.
    std::optional<TerminalSize> terminal;
  };
  struct Outcome {
    std::optional<rpc::CallError> error;
    pid_t pid = -1;     ///< A child of ours, not registered yet: it is from within Done.
    UniqueFd terminal;  ///< Its master, where makes_terminal().
  };
  using Done = std::function<void(Outcome)>;

  virtual ~ExecLauncher() = default;
  /// What is wrong with it, if anything.
  virtual std::optional<rpc::CallError> prepare(const sluice_agent_v1_ExecStart& start) = 0;
  virtual const std::vector<std::string>& args() const = 0;
  /// A terminal comes with the outcome, and is not to be among the streams.
  virtual bool makes_terminal() const = 0;
  /// Calls `done` once, from here or later.
  virtual void launch(const Streams& streams, Done done) = 0;
  /// Nobody waits any more: `done` isn't called, and what comes to run is ended.
  virtual void forget() {}
};

TerminalSize terminal_size_of(const sluice_agent_v1_TerminalSize& size);
/// invalid_argument: no variable's name.
Status check_env_names(const sluice_agent_v1_ExecStart& start);

}  // namespace sluice::agent
