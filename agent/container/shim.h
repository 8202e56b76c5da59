#pragma once

#include <cstdint>
#include <deque>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent/container/log_writer.h"
#include "agent/container/runtime.h"
#include "agent/container/spec.h"
#include "agent/container/status_file.h"
#include "agent/process/children.h"
#include "base/loop.h"
#include "base/unique_fd.h"

namespace sluice::agent {

/// What a shim is told on its command line.
struct ShimArguments {
  std::string id;
  std::string state;   ///< The state directory.
  std::string log;     ///< The log's.
  std::string cgroup;  ///< The container's cgroup in the file system.
  std::string runtime;
  std::string runtime_root;

  std::vector<std::string> to_args() const;
  static std::optional<ShimArguments> parse(const std::vector<std::string>& args);
};

/// The process beside a container's run. It is the parent of the container's first process, holds
/// its standard streams, writes the log and how it ended, and outlives the agent, whom it talks to
/// by a socket.
///
///   container --stdout, stderr (or a terminal)--> shim --> log files --> readers, in the agent
///   container <--stdin-- shim <-- connections              (which hold it up by telling how far
///   they are)
class Shim {
 public:
  /// `runtime_copy`: the runtime's program as its Runtime::copy() has it; none is none.
  Shim(Loop& loop, Children& children, ShimArguments arguments, UniqueFd listener,
       UniqueFd runtime_copy);
  ~Shim();
  Shim(const Shim&) = delete;
  Shim& operator=(const Shim&) = delete;

  /// `end` is called when all is over.
  void begin(std::function<void()> end);

 private:
  struct Connection {
    UniqueFd fd;
    std::unique_ptr<FdWatch> watch;
    std::optional<std::uint64_t> hold;
    bool blocked = false;  ///< What it sent for the input has no room yet.
  };
  struct Output {
    bool is_stderr = false;
    UniqueFd fd;
    std::unique_ptr<FdWatch> watch;
  };

  bool open_streams(SpawnPlan& plan, std::vector<UniqueFd>& theirs);
  bool open_console(std::string& path);
  void take_console();
  void create();
  void on_created(const Exit& exit);
  void start();
  void on_start_ended(const Exit& exit);
  void fail(const RuntimeFailure& failure);
  void on_container_exit(const Exit& exit);
  void finish();

  void accept();
  void read(Connection& connection);
  bool obey(Connection& connection, ConstBytes message);
  void take_input(ConstBytes bytes);
  void pump_input();
  void close_input();
  void tell(ConstBytes message);
  void tell_word(std::uint8_t word);
  void drop(Connection& connection);

  void watch_output(Output& output);
  bool read_output(Output& output);
  void update_hold();
  bool is_held() const;
  void drain();
  void save();
  std::string file(const char* name) const { return arguments_.state + "/" + name; }

  Loop& loop_;
  Children& children_;
  ShimArguments arguments_;
  ContainerSpec spec_;
  Runtime runtime_;
  std::function<void()> end_;
  ContainerStatus status_;
  std::optional<LogWriter> log_;
  std::uint64_t window_ = 0;
  std::size_t piece_ = kMaxLogData;  ///< The most that is read at once.
  UniqueFd listener_;
  std::unique_ptr<FdWatch> listen_watch_;
  std::list<Connection> connections_;
  std::list<Output> outputs_;
  bool held_ = false;
  UniqueFd console_listener_;
  std::unique_ptr<FdWatch> console_watch_;
  UniqueFd terminal_;
  UniqueFd input_;
  std::unique_ptr<FdWatch> input_watch_;
  std::vector<std::uint8_t> pending_;  ///< Of one message.
  bool input_closing_ = false;
  bool starting_ = false;
  bool removing_ = false;
  std::optional<Exit> exit_;
  std::unique_ptr<Timer> drain_timer_;
  std::unique_ptr<Timer> terminal_timer_;
};

/// The program `agent shim ...`; returns its exit status. Standard input is the listening socket,
/// and standard output the runtime's copy where there is one.
int run_shim(const std::vector<std::string>& args);

}  // namespace sluice::agent
