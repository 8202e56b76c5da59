#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "agent/client/caller.h"
#include "agent/client/credit.h"
#include "agent/client/unary.h"

/// The calls of a guest's agent in C++ (agent/proto has what each does). All callbacks come on the
/// loop's thread, once each, and never from inside the call that set them up.
namespace sluice::agent::client {

struct Ping {
  std::string version;
  std::uint32_t protocol = 0;
  std::vector<std::string> features;
  std::string boot_id;
  std::int64_t realtime_ns = 0;
  std::int64_t boottime_ns = 0;
};

struct SystemInfo {
  struct Interface {
    std::string name;
    std::string mac;
    std::uint32_t mtu = 0;
    bool up = false;
    std::vector<std::string> addresses;
  };
  std::string kernel, os_name, os_version, arch, hostname;
  std::uint64_t total_memory = 0;  ///< Bytes.
  std::uint64_t available_memory = 0;
  std::uint32_t cpus = 0;
  std::vector<double> load;
  std::int64_t uptime_ns = 0;
  std::vector<Interface> interfaces;
};

struct BootStep {
  std::string name;
  std::string result;  ///< "running", "done", "skipped", "failed"
  bool mandatory = false;
  int error = 0;  ///< errno
  std::string message;
  std::int64_t started_ns = 0;
  std::int64_t duration_ns = 0;
};

struct BootReport {
  std::vector<BootStep> steps;
  bool complete = false;
  bool failed = false;
};

struct ExitStatus {
  std::int32_t code = 0;
  std::int32_t signal = 0;
  bool timed_out = false;
};

struct ProcessInfo {
  std::string id;
  std::int32_t pid = 0;
  std::vector<std::string> args;
  std::int64_t started_at_ns = 0;
  std::optional<ExitStatus> exit;
};

struct TerminalSize {
  std::uint32_t rows = 24;
  std::uint32_t columns = 80;
};

struct ExecSpec {
  std::vector<std::string> args;
  std::map<std::string, std::string> env;
  std::string cwd;
  std::string user;
  std::optional<TerminalSize> terminal;
  bool no_stdin = false;
  bool detach = false;
  Duration timeout{};
  std::string container;  ///< In which; "": the VM itself.
};

/// A container's own streams.
struct AttachSpec {
  std::string container;
  bool no_stdin = false;
};

void ping(Caller& caller, OnAnswer<Ping> on_answer, Duration timeout = {});
void system_info(Caller& caller, OnAnswer<SystemInfo> on_answer);
void boot_report(Caller& caller, OnAnswer<BootReport> on_answer);
/// Of the agent's own, and by call started ones.
void list_processes(Caller& caller, OnAnswer<std::vector<ProcessInfo>> on_answer);
struct Done {};
void shutdown(Caller& caller, bool reboot, Duration grace, OnAnswer<Done> on_answer);

/// A program in the guest and its streams. Output is granted as it is consumed: on_output() says
/// how much of it has found its place, and consumed() the rest later.
class Exec {
 public:
  struct Events {
    std::function<void(const std::string& id, std::int32_t pid)> on_started;
    /// Bytes of stdout (of a terminal all) or stderr. consumed() is called for each byte, from here
    /// or later.
    std::function<void(bool is_stderr, ConstBytes bytes)> on_output;
    /// Of a container's streams: so many bytes of its log are missing here. May be null.
    std::function<void(std::uint64_t bytes)> on_lost;
    /// More input may be given by write().
    std::function<void()> on_input_room;
    /// The end. With an error there is no exit status.
    std::function<void(const rpc::CallError& error, const ExitStatus& exit)> on_end;
  };

  Exec(Caller& caller, const ExecSpec& spec, Events events);
  /// The streams of a container: on_started tells its name when nothing more can be missed, and may
  /// start it then. signal() goes to its first process.
  Exec(Caller& caller, const AttachSpec& spec, Events events);
  Exec(const Exec&) = delete;
  Exec& operator=(const Exec&) = delete;

  /// Bytes that write() takes now.
  std::size_t input_room() const { return input_credit_; }
  /// At most input_room() bytes.
  void write(ConstBytes bytes);
  void close_input();
  void consumed(std::size_t bytes);
  void resize(TerminalSize size);
  void signal(std::uint32_t signal);

 private:
  void begin(std::string_view service, std::string_view method, ConstBytes request);
  void on_message(ConstBytes bytes);
  bool take_attach_message(ConstBytes bytes);

  Caller& caller_;
  Events events_;
  std::string attached_to_;
  std::uint32_t stream_ = 0;
  std::size_t input_credit_;
  Consumed consumed_;
  ExitStatus exit_;
};

}  // namespace sluice::agent::client
