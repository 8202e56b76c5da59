#include "agent/services/container_exec.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/container/oci_config.h"
#include "agent/container/rootfs.h"
#include "agent/container/unix_socket.h"
#include "agent/os/descriptor.h"
#include "agent/os/file.h"
#include "agent/rpc/message.h"
#include "agent/services/container_calls.h"
#include "agent/services/exec_call.h"
#include "base/number.h"

namespace sluice::agent {

namespace {

using rpc::CallError;
using rpc::Code;
using rpc::text;

/// `crun exec --detach`: the runtime makes the process and ends, and it is our child then, as we
/// are a subreaper.
class ContainerLauncher final : public ExecLauncher,
                                public std::enable_shared_from_this<ContainerLauncher> {
 public:
  ContainerLauncher(Containers& containers, ProcessService& processes)
      : containers_(containers), processes_(processes) {}
  ~ContainerLauncher() override { remove_files(); }

  std::optional<CallError> prepare(const sluice_agent_v1_ExecStart& start) override;
  const std::vector<std::string>& args() const override { return process_.args; }
  bool makes_terminal() const override { return true; }
  void launch(const Streams& streams, Done done) override;
  void forget() override { done_ = nullptr; }

 private:
  std::string file(const char* kind) const {
    return fmt::format("{}/exec-{}.{}", container_->state_directory(), name_, kind);
  }
  void on_runtime_end(const Exit& exit);
  Outcome outcome(const Exit& exit);
  void end(Outcome outcome);
  void remove_files();

  Containers& containers_;
  ProcessService& processes_;
  std::shared_ptr<Container> container_;
  OciProcess process_;
  std::string name_;
  std::optional<TerminalSize> size_;
  UniqueFd console_;
  Done done_;
};

std::optional<CallError> ContainerLauncher::prepare(const sluice_agent_v1_ExecStart& start) {
  if (auto missing = containers_.missing()) return missing;
  container_ = containers_.find(text(start.container));
  if (!container_) {
    return CallError{.code = Code::not_found,
                     .message = fmt::format("there is no container {}", text(start.container))};
  }
  const ContainerSpec& spec = container_->spec();
  if (container_->state() != Container::State::running) {
    bool paused = container_->state() == Container::State::paused;
    return CallError{.code = Code::failed_precondition,
                     .message = spec.name + (paused ? " is paused" : " doesn't run")};
  }
  for (pb_size_t i = 0; i < start.args_count; ++i) process_.args.emplace_back(text(start.args[i]));
  if (process_.args.empty() || process_.args[0].empty()) {
    return CallError{.code = Code::invalid_argument,
                     .message = "args: the program to run is missing"};
  }
  if (Status status = check_env_names(start); !status) return CallError::of(status);
  std::string_view user = text(start.user);
  auto identity = identity_in_root(container_->rootfs(), user.empty() ? spec.user : user);
  if (!identity) return CallError::of(identity.status());
  process_.identity = std::move(*identity);
  if (start.has_terminal) process_.terminal = terminal_size_of(start.terminal);
  process_.cwd = text(start.cwd);
  if (process_.cwd.empty()) process_.cwd = spec.cwd;
  if (!process_.cwd.starts_with('/')) {
    return CallError{.code = Code::invalid_argument, .message = "cwd: an absolute path is needed"};
  }
  // The latter of two counts.
  process_.env = spec.env;
  for (pb_size_t i = 0; i < start.env_count; ++i) {
    std::string prefix = fmt::format("{}=", text(start.env[i].key));
    std::erase_if(process_.env, [&](const std::string& one) { return one.starts_with(prefix); });
    process_.env.push_back(fmt::format("{}{}", prefix, text(start.env[i].value)));
  }
  process_.env = with_usual_env(std::move(process_.env), process_.identity, spec.hostname,
                                process_.terminal.has_value());
  return std::nullopt;
}

void ContainerLauncher::launch(const Streams& streams, Done done) {
  done_ = std::move(done);
  size_ = streams.terminal;
  name_ = random_id().substr(0, 12);
  Status status = write_file(file("json"), oci_process(container_->spec(), process_), 0600);
  std::string console;
  if (status && size_) {
    console = file("sock");
    auto listener = listen_for_console(console);
    status = listener.status();
    if (status) console_ = std::move(*listener);
  }
  if (!status) return end({.error = CallError::of(status)});
  SpawnPlan plan = containers_.world().runtime.exec(container_->spec().id, file("log"),
                                                    file("json"), file("pid"), console);
  plan.stdio = streams.stdio;
  Spawned spawned = spawn(plan);
  if (spawned.pid < 0) return end({.error = CallError::from_errno(spawned.error, spawned.step)});
  processes_.children().add(
      spawned.pid, [self = shared_from_this()](const Exit& exit) { self->on_runtime_end(exit); });
}

/// From within the reaping. The program may have been reaped before, which Children knows.
void ContainerLauncher::on_runtime_end(const Exit& exit) {
  end(outcome(exit));
}

ExecLauncher::Outcome ContainerLauncher::outcome(const Exit& exit) {
  auto pid = parse_number<pid_t>(read_line(file("pid")));
  if (exit.code != 0 || !pid || *pid <= 1) {
    RuntimeFailure failure = runtime_failure(file("log"));
    CallError error{.code = Code::failed_precondition, .message = failure.text};
    if (failure.error != 0) {
      error = CallError::from_errno(failure.error, "");
      error.message = failure.text;
    }
    if (failure.program) name_program(error, process_.args[0]);
    return {.error = std::move(error)};
  }
  Outcome outcome{.error = std::nullopt, .pid = *pid, .terminal = {}};
  if (size_) {
    UniqueFd peer(::accept4(console_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (peer) outcome.terminal = receive_descriptor(peer.get());
    if (outcome.terminal) resize_terminal(outcome.terminal.get(), *size_);
  }
  return outcome;
}

void ContainerLauncher::end(Outcome outcome) {
  remove_files();
  auto done = std::move(done_);
  done_ = nullptr;
  if (done) {
    done(std::move(outcome));
  } else if (outcome.pid > 0) {
    processes_.adopt_and_end(outcome.pid, process_.args);
  }
}

void ContainerLauncher::remove_files() {
  if (!container_ || name_.empty()) return;
  for (const char* kind : {"json", "pid", "log", "sock"}) ::unlink(file(kind).c_str());
}

}  // namespace

std::unique_ptr<rpc::Handler> begin_container_exec(Containers& containers,
                                                   ProcessService& processes, rpc::Call& call,
                                                   ConstBytes first) {
  return ExecCall::begin(processes, call, first,
                         std::make_shared<ContainerLauncher>(containers, processes));
}

}  // namespace sluice::agent
