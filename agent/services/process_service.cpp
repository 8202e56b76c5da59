#include "agent/services/process_service.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>

#include "agent/os/file.h"
#include "agent/rpc/message.h"
#include "agent/services/exec_call.h"
#include "agent/services/local_launcher.h"
#include "agent/services/process_messages.h"
#include "sluice/agent/v1/process.pb.h"

namespace sluice::agent {

namespace {

using rpc::Call;
using rpc::Code;
using rpc::field;
using rpc::text;

constexpr const char* kProcessService = "sluice.agent.v1.Process";
constexpr Duration kAbandonGrace = std::chrono::seconds(5);
/// Beyond it a time-out is none.
constexpr Duration kMostTimeout = std::chrono::hours(24 * 365);
constexpr std::uint32_t kLastSignal = 64;

rpc::CallError no_process(std::string_view id) {
  return {.code = Code::not_found, .message = fmt::format("there is no process {}", id)};
}

/// To the process group that a process, which is not reaped yet, is in now.
void signal_group(pid_t pid, int signal) {
  pid_t group = ::getpgid(pid);
  // Of none, or in ours, it is alone.
  bool own = group <= 1 || group == ::getpgrp();
  ::kill(own ? pid : -group, signal);
}

/// Waits as long as its call.
class WaitCall final : public rpc::Handler {
 public:
  explicit WaitCall(ProcessTable& table) : table_(table) {}
  ~WaitCall() override { table_.unwait(number_); }

  void begin(Call& call, const std::string& id) {
    number_ = table_.wait(id, [&call](const ProcessTable::Process& process) {
      sluice_agent_v1_WaitResponse response{};
      response.has_exit = true;
      response.exit = exit_message(process);
      call.reply_with(response);
    });
  }

 private:
  ProcessTable& table_;
  std::uint64_t number_ = 0;
};

}  // namespace

void ProcessService::add_to(rpc::Methods& methods) {
  methods.add(kProcessService, "Exec",
              {.begin = [this](Call& call, ConstBytes first) -> std::unique_ptr<rpc::Handler> {
                 return ExecCall::begin(*this, call, first, std::make_shared<LocalLauncher>());
               },
               .streams_in = true});

  methods.add_unary<sluice_agent_v1_SignalRequest, sluice_agent_v1_SignalResponse>(
      kProcessService, "Signal", [this](Call& call, const sluice_agent_v1_SignalRequest& request) {
        std::string id(text(request.id));
        const ProcessTable::Process* process = table_.find(id);
        if (request.signal == 0 || request.signal > kLastSignal) {
          call.fail({.code = Code::invalid_argument,
                     .message = fmt::format("{} is no signal (1 to 64)", request.signal)});
        } else if (!process || process->exit) {
          call.fail(no_process(id));
        } else {
          signal(id, static_cast<int>(request.signal), request.group);
          call.reply_with(sluice_agent_v1_SignalResponse{});
        }
      });

  methods.add(kProcessService, "Wait",
              {.begin = [this](Call& call, ConstBytes bytes) -> std::unique_ptr<rpc::Handler> {
                auto request = rpc::Message<sluice_agent_v1_WaitRequest>::parse(bytes);
                if (!request) {
                  call.fail(rpc::CallError::of(request.status()));
                  return nullptr;
                }
                std::string id(text((*request)->id));
                if (!table_.find(id)) {
                  call.fail(no_process(id));
                  return nullptr;
                }
                auto waiting = std::make_unique<WaitCall>(table_);
                waiting->begin(call, id);
                return waiting;
              }});

  methods.add_unary<sluice_agent_v1_ListProcessesRequest, sluice_agent_v1_ListProcessesResponse>(
      kProcessService, "List", [this](Call& call, const sluice_agent_v1_ListProcessesRequest&) {
        std::vector<sluice_agent_v1_ProcessInfo> infos;
        std::vector<std::vector<char*>> args;
        for (const ProcessTable::Process* process : table_.list()) {
          std::vector<char*>& pointers = args.emplace_back();
          for (const std::string& arg : process->args) {
            pointers.push_back(const_cast<char*>(arg.c_str()));
          }
          sluice_agent_v1_ProcessInfo info{};
          info.id = field(process->id);
          info.pid = process->pid;
          info.args_count = static_cast<pb_size_t>(pointers.size());
          info.args = pointers.data();
          info.started_at_ns = process->started_at_ns;
          info.has_exit = process->exit.has_value();
          if (process->exit) info.exit = exit_message(*process);
          infos.push_back(info);
        }
        sluice_agent_v1_ListProcessesResponse response{};
        response.processes_count = static_cast<pb_size_t>(infos.size());
        response.processes = infos.data();
        call.reply_with(response);
      });
}

std::string ProcessService::started(pid_t pid, const std::vector<std::string>& args,
                                    Watcher* watcher, Duration timeout) {
  std::string id = random_id();
  children_.add(pid, [this, id](const Exit& exit) { on_exit(id, exit); });
  table_.add({.id = id, .pid = pid, .args = args, .started_at_ns = loop_.wall_time_ns()});
  Running& running = running_[id];
  running.pid = pid;
  running.group = std::max(::getpgid(pid), 0);
  if (running.group <= 1 || running.group == ::getpgrp()) running.group = pid;
  running.watcher = watcher;
  running.kill_timer = loop_.make_timer([this, id] { kill_group(id); });
  running.kill_is_timeout = timeout > Duration::zero();
  if (running.kill_is_timeout) kill_after(running, std::min(timeout, kMostTimeout));
  return id;
}

/// The earlier of two kills stays.
void ProcessService::kill_after(Running& running, Duration delay) {
  TimePoint at = loop_.now() + delay;
  if (at >= running.kill_at) return;
  running.kill_at = at;
  running.kill_timer->start(delay);
}

void ProcessService::kill_group(const std::string& id) {
  if (auto found = running_.find(id); found != running_.end()) {
    found->second.timed_out = found->second.kill_is_timeout;
    signal_group(found->second.pid, SIGKILL);
  } else if (auto left = leaderless_.find(id); left != leaderless_.end()) {
    // The leader's number is taken as long as the group is there. If it is another process's by
    // now, the group has gone, and another may have its number.
    pid_t group = left->second.group;
    if (::kill(group, 0) != 0 && errno == ESRCH) ::kill(-group, SIGKILL);
    leaderless_.erase(left);
  }
}

void ProcessService::abandon(const std::string& id) {
  auto found = running_.find(id);
  if (found == running_.end()) return;
  Running& running = found->second;
  running.watcher = nullptr;
  running.abandoned = true;
  signal_group(running.pid, SIGHUP);
  if (loop_.now() + kAbandonGrace < running.kill_at) {
    running.kill_is_timeout = false;
    kill_after(running, kAbandonGrace);
  }
}

void ProcessService::signal(const std::string& id, int signal, bool group) {
  auto found = running_.find(id);
  if (found == running_.end()) return;
  if (group) {
    signal_group(found->second.pid, signal);
  } else {
    ::kill(found->second.pid, signal);
  }
}

void ProcessService::signal_all(int signal) {
  for (const auto& [id, running] : running_) signal_group(running.pid, signal);
}

void ProcessService::on_exit(const std::string& id, const Exit& exit) {
  auto found = running_.find(id);
  Running ended = std::move(found->second);
  running_.erase(found);
  table_.ended(id, exit, ended.timed_out);
  if (ended.watcher) ended.watcher->on_process_exit(*table_.find(id));
  if (exit_listener_) exit_listener_(*table_.find(id));
  // The rest of an abandoned group has its grace too, and no longer.
  if (ended.abandoned && ::kill(-ended.group, 0) == 0) leaderless_.emplace(id, std::move(ended));
}

}  // namespace sluice::agent
