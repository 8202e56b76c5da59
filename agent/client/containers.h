#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "agent/client/credit.h"
#include "agent/client/guest.h"

/// The calls of the service Container (container.proto has what each does). As guest.h.
namespace sluice::agent::client {

struct ContainerMount {
  enum class Kind : std::uint8_t { bind, tmpfs, virtiofs };
  Kind kind = Kind::bind;
  std::string source;
  std::string target;
  bool read_only = false;
  std::uint64_t size = 0;  ///< Bytes, of a tmpfs.
};

struct ContainerLimits {
  std::uint64_t memory = 0;  ///< Bytes; 0 of each: none.
  std::uint64_t cpu_millis = 0;
  std::uint64_t pids = 0;
};

enum class Restart : std::uint8_t { no, on_failure, always };

struct ContainerSpec {
  std::string name;
  std::string image;
  std::string rootfs;
  std::string entrypoint;
  std::vector<std::string> args;
  std::map<std::string, std::string> env;
  std::string cwd;
  std::string user;
  std::string hostname;
  std::optional<TerminalSize> terminal;
  bool open_stdin = false;
  bool read_only = false;
  std::vector<ContainerMount> mounts;
  ContainerLimits limits;
  std::vector<std::string> add_capabilities;
  std::vector<std::string> drop_capabilities;
  bool no_new_privileges = false;
  Restart restart = Restart::no;
  std::uint32_t most_restarts = 0;
  std::map<std::string, std::string> labels;
  std::string network;
  bool auto_remove = false;
  bool json_log = false;  ///< Its log's files are lines of JSON, as docker has them.
  bool all_devices = false;
};

struct ContainerExit {
  std::int32_t code = 0;
  std::int32_t signal = 0;
  bool oom = false;
  std::int64_t at_ns = 0;
  std::string error;
};

struct ContainerInfo {
  std::string id;
  std::string name;
  std::string image;
  std::vector<std::string> args;
  std::string state;  ///< "created", "running", "paused", "stopped", "restarting"
  std::int32_t pid = 0;
  std::int64_t created_at_ns = 0;
  std::int64_t started_at_ns = 0;
  std::optional<ContainerExit> exit;
  std::uint32_t restarts = 0;
  std::map<std::string, std::string> labels;
  std::vector<std::string> addresses;
};

struct ContainerDetails {
  ContainerInfo info;
  std::string cwd, user, hostname, network, rootfs, log_directory;
  std::vector<std::string> env;
  std::vector<ContainerMount> mounts;
  ContainerLimits limits;
  bool terminal = false;
  bool read_only = false;
};

struct ContainerStats {
  std::uint64_t cpu_ns = 0;
  std::uint64_t memory = 0;
  std::uint64_t memory_limit = 0;
  std::uint64_t pids = 0;
  std::uint64_t read_bytes = 0;
  std::uint64_t written_bytes = 0;
  std::uint64_t sent_bytes = 0;
  std::uint64_t received_bytes = 0;
};

/// Its id.
void create_container(Caller& caller, const ContainerSpec& spec, OnAnswer<std::string> on_answer);
void start_container(Caller& caller, const std::string& name, OnAnswer<Done> on_answer);
/// `signal` "": its own; `timeout` 0: its own, less: SIGKILL at once.
void stop_container(Caller& caller, const std::string& name, const std::string& signal,
                    Duration timeout, OnAnswer<ContainerExit> on_answer);
void kill_container(Caller& caller, const std::string& name, const std::string& signal,
                    OnAnswer<Done> on_answer);
void pause_container(Caller& caller, const std::string& name, OnAnswer<Done> on_answer);
void resume_container(Caller& caller, const std::string& name, OnAnswer<Done> on_answer);
void wait_for_container(Caller& caller, const std::string& name, OnAnswer<ContainerExit> on_answer);
void remove_container(Caller& caller, const std::string& name, bool force,
                      OnAnswer<Done> on_answer);
void list_containers(Caller& caller, bool all, OnAnswer<std::vector<ContainerInfo>> on_answer);
void inspect_container(Caller& caller, const std::string& name,
                       OnAnswer<ContainerDetails> on_answer);
void container_stats(Caller& caller, const std::string& name, OnAnswer<ContainerStats> on_answer);

struct LogsSpec {
  std::string container;
  bool follow = false;
  std::uint64_t tail = 0;  ///< Lines; 0: all.
  std::int64_t since_ns = 0;
  std::int64_t until_ns = 0;
  bool out = true;
  bool err = true;
};

/// What a container has written. What is shown is granted anew by the call itself, when on_record
/// has returned.
class ContainerLogs {
 public:
  struct Events {
    std::function<void(bool is_stderr, std::int64_t time_ns, ConstBytes data)> on_record;
    /// So many bytes of log are missing here: rotated away, or the disk had no room. May be null.
    std::function<void(std::uint64_t bytes)> on_lost;
    std::function<void(const rpc::CallError& error)> on_end;
  };

  ContainerLogs(Caller& caller, const LogsSpec& spec, Events events);
  ContainerLogs(const ContainerLogs&) = delete;
  ContainerLogs& operator=(const ContainerLogs&) = delete;

 private:
  void on_message(ConstBytes bytes);

  Caller& caller_;
  Events events_;
  std::uint32_t stream_ = 0;
  Consumed consumed_;
};

}  // namespace sluice::agent::client
