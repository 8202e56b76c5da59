#pragma once

#include <net/status.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "agent/container/bridge.h"
#include "agent/container/cgroup.h"
#include "agent/container/compiled_filters.h"
#include "agent/container/runtime.h"
#include "agent/container/shim_link.h"
#include "agent/container/spec.h"
#include "agent/container/status_file.h"
#include "agent/process/children.h"
#include "agent/rpc/call.h"
#include "base/loop.h"

namespace sluice::agent {

/// Who is told of what runs: a registry of names.
struct ContainerObserver {
  /// `addresses` are "10.88.0.2/24"; of a container without a network of its own there are none.
  std::function<void(const std::string& id, const std::string& name,
                     const std::vector<std::string>& aliases,
                     const std::vector<std::string>& addresses)>
      on_started;
  std::function<void(const std::string& id)> on_exited;
};

/// What all containers share.
struct ContainerWorld {
  Loop& loop;
  Children& children;
  Runtime runtime;
  std::string state;  ///< The directory of what lives as long as the VM: /run/sluice/containers
  std::string data;   ///< Of what may be large: /var/lib/sluice/containers
  std::string cgroup_root;  ///< /sys/fs/cgroup
  std::string cgroup;       ///< The containers' own, from there on: /sluice
  std::string shim;         ///< The program that has `shim`.
  Bridge bridge;
  ContainerObserver observer;
  CompiledFilters filters = {};
  bool bridge_has_dns = false;  ///< The guest's resolver is served on the bridge.
};

/// One container, from Create to Remove.
///
///   created --> starting --> running <--> paused
///                   |            |
///                   +--> stopped <--> restarting          any --> removed
///
/// What it is lies in files, and what it does in its shim, so that another agent can take it up.
/// All calls on the loop's thread.
class Container : public std::enable_shared_from_this<Container> {
 public:
  enum class State : std::uint8_t {
    created,
    starting,
    running,
    paused,
    stopped,
    restarting,
    removed
  };

  /// A new one. Nothing is written before save().
  Container(ContainerWorld& world, ContainerSpec spec);
  ~Container();
  Container(const Container&) = delete;
  Container& operator=(const Container&) = delete;

  /// Writes the journal.
  Status save();
  /// Takes up what an agent before us has left.
  void recover();

  const ContainerSpec& spec() const { return spec_; }
  const ContainerStatus& status() const { return status_; }
  State state() const { return state_; }
  bool is_running() const { return state_ == State::running || state_ == State::paused; }
  /// It has a process, or is about to.
  bool is_alive() const { return is_running() || state_ == State::starting; }
  /// It has stopped, and won't start by itself.
  bool is_over() const { return state_ == State::stopped || state_ == State::removed; }
  std::uint32_t restarts() const { return restarts_; }
  const Bridge::Port& port() const { return port_; }
  Cgroup cgroup() const;
  std::string state_directory() const { return world_.state + "/" + spec_.id; }
  std::string data_directory() const { return world_.data + "/" + spec_.id; }
  std::string log_directory() const { return data_directory() + "/log"; }
  std::string shim_socket() const;
  std::string rootfs() const;
  /// What is its / now, as the VM sees it: with its mounts where it runs. refused: it has none.
  Result<std::string> visible_root() const;

  /// Begins to; state() tells what comes of it. An error where it can't even begin.
  std::optional<rpc::CallError> start();
  /// The end of the present run, by force after `timeout`; none of it is an error.
  void stop(int signal, Duration timeout);
  /// SIGKILL to every process.
  void kill_all();
  /// To the first process.
  void signal(int number);
  void resize(TerminalSize size);
  /// The pause has come about when state() says so.
  std::optional<rpc::CallError> set_paused(bool paused);
  /// The limits that are not 0.
  std::optional<rpc::CallError> update(const ContainerLimits& limits,
                                       std::optional<RestartPolicy> restart);
  /// Forgets it, with all its files. It isn't alive.
  void remove();

  /// Called after every change of state(), and when what holds a start up is to be told. The number
  /// is for unwatch().
  std::uint64_t watch(std::function<void()> watcher);
  void unwatch(std::uint64_t number) { watchers_.erase(number); }
  /// Called when there is a first process and before it runs the program: who wants to miss nothing
  /// connects now.
  std::uint64_t watch_creation(std::function<void()> watcher);
  void unwatch_creation(std::uint64_t number) { creation_watchers_.erase(number); }
  /// Where the log ended when the present run began.
  std::uint64_t log_start() const { return log_start_; }

 private:
  Status prepare();
  Status write_network_files();
  Status spawn_shim();
  Status connect_shim();
  void on_shim_word(ShimWord word, ConstBytes rest);
  void on_process_created();
  void on_started();
  void on_shim_end();
  void take_exit();
  void clean_up_lost();
  void restart_or_rest(bool was_running);
  void set_state(State state);
  void poll_freezer();
  void save_run();
  std::optional<rpc::CallError> run();
  std::string file(const char* name) const { return state_directory() + "/" + name; }

  ContainerWorld& world_;
  ContainerSpec spec_;
  ContainerStatus status_;
  State state_ = State::created;
  std::unique_ptr<ShimLink> link_;
  Bridge::Port port_;
  std::uint32_t restarts_ = 0;
  bool is_wanted_down_ = false;  ///< Somebody stopped it: it isn't restarted.
  bool is_told_ = false;         ///< The observer knows that it runs.
  std::uint64_t log_start_ = 0;
  Duration back_off_{};
  std::unique_ptr<Timer> kill_timer_;
  std::unique_ptr<Timer> restart_timer_;
  std::unique_ptr<Timer> freeze_timer_;
  std::uint64_t next_watcher_ = 1;
  std::map<std::uint64_t, std::function<void()>> watchers_;
  std::map<std::uint64_t, std::function<void()>> creation_watchers_;
};

}  // namespace sluice::agent
