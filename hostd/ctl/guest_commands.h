#pragma once

#include <functional>
#include <memory>
#include <string>

#include "agent/client/guest.h"
#include "base/uv_loop.h"
#include "hostd/ctl/commands.h"

namespace sluice::ctl {

struct RunAsked;

/// What `guest exec` is told.
struct ExecAsked {
  std::vector<std::string> command;
  std::vector<std::string> env;  ///< NAME=value, or NAME for hostctl's own.
  std::string cwd;
  std::string user;
  std::string container;       ///< In which; "": the VM itself.
  double timeout_seconds = 0;  ///< 0: none.
  bool interactive = false;
  bool terminal = false;
  bool detach = false;
};

/// What `guest image import` is told.
struct ImportAsked {
  std::string file = "-";  ///< "-": standard input.
  std::string name;
  std::string kind = "auto";
  std::string platform;
  std::uint64_t max_bytes = 0;  ///< 0: none.
};

/// What `guest cp` is told: one of both is "vm:PATH" or "CONTAINER:PATH"; the other a path here, or
/// "-" for a tar archive on standard input or output.
struct CopyAsked {
  std::string from;
  std::string to;
  bool archive = false;  ///< Keep owners and devices.
};

/// What `guest logs` is told.
struct LogsAsked {
  std::string container;
  std::string since;  ///< As parse_moment() has it.
  std::string until;
  std::uint64_t tail = 0;
  bool follow = false;
  bool times = false;
};

/// The commands that the guest's agent answers, by hostd. As Commands: each prints and returns the
/// exit status. exec() returns the program's, or as container tools have it 125 where the call
/// failed, 126 where the program can't be run, and 127 where there is none.
class GuestCommands {
 public:
  GuestCommands(std::string agent_socket, Output output)
      : socket_(std::move(agent_socket)), output_(output) {}

  int ping();
  int info();
  int boot();
  int processes();
  int exec(const ExecAsked& asked);
  int shutdown(bool reboot, double grace_seconds);
  // Of guest_images.cpp.
  int import_image(const ImportAsked& asked);
  int images();
  int remove_images(const std::vector<std::string>& images, bool force);
  int prune_images(bool all);
  // Of guest_copy.cpp.
  int copy(const CopyAsked& asked);

  // Of container_commands.cpp. Each of those that take names does all it can, and fails if one did.
  using Names = std::vector<std::string>;
  int run_container(const RunAsked& asked);
  int containers(bool all);
  int logs(const LogsAsked& asked);
  int start(const Names& names);
  int stop(const Names& names, const std::string& signal, double timeout_seconds);
  int kill(const Names& names, const std::string& signal);
  int remove(const Names& names, bool force);
  int pause(const Names& names);
  int resume(const Names& names);
  int wait(const Names& names);
  int inspect(const std::string& name);
  int stats(const Names& names);

  // For commands that have files of their own.
  Output output() const { return output_; }
  /// Connects, lets `begin` begin, and runs the loop until it calls `end` with the exit status.
  /// What it returns lives as long as the loop runs.
  using End = std::function<void(int)>;
  using Begin =
      std::function<std::shared_ptr<void>(UvLoop& loop, agent::client::Caller& caller, End end)>;
  int run(const Begin& begin, int failed = 1);
  /// One after the other; each calls `next` with whether it worked.
  using Each = std::function<void(agent::client::Caller& caller, const std::string& name,
                                  const std::function<void(bool)>& next)>;
  int for_each(const Names& names, const Each& each);

 private:
  std::string socket_;
  Output output_;
};

}  // namespace sluice::ctl
