#include "agent/client/guest.h"

#include <algorithm>

#include "agent/client/containers.h"
#include "agent/client/unary.h"
#include "agent/rpc/credit.h"
#include "agent/rpc/message.h"
#include "sluice/agent/v1/agent.pb.h"
#include "sluice/agent/v1/container.pb.h"
#include "sluice/agent/v1/process.pb.h"

namespace sluice::agent::client {

namespace {

using rpc::CallError;
using rpc::field;
using rpc::strings;
using rpc::text;

constexpr std::string_view kProcess = "sluice.agent.v1.Process";
constexpr std::string_view kContainer = "sluice.agent.v1.Container";

ExitStatus exit_of(const sluice_agent_v1_ExitStatus& exit) {
  return {.code = exit.code, .signal = exit.signal, .timed_out = exit.timed_out};
}

const char* result_name(sluice_agent_v1_BootStep_Result result) {
  switch (result) {
    case sluice_agent_v1_BootStep_Result_RUNNING:
      return "running";
    case sluice_agent_v1_BootStep_Result_DONE:
      return "done";
    case sluice_agent_v1_BootStep_Result_SKIPPED:
      return "skipped";
    case sluice_agent_v1_BootStep_Result_FAILED:
      return "failed";
    default:
      return "unknown";
  }
}

}  // namespace

void ping(Caller& caller, OnAnswer<Ping> on_answer, Duration timeout) {
  call<sluice_agent_v1_PingResponse>(
      caller, kAgentService, "Ping", sluice_agent_v1_PingRequest{}, std::move(on_answer),
      [](const sluice_agent_v1_PingResponse& response) {
        return Ping{.version = std::string(text(response.version)),
                    .protocol = response.protocol,
                    .features = strings(response.features, response.features_count),
                    .boot_id = std::string(text(response.boot_id)),
                    .realtime_ns = response.realtime_ns,
                    .boottime_ns = response.boottime_ns};
      },
      timeout);
}

void system_info(Caller& caller, OnAnswer<SystemInfo> on_answer) {
  call<sluice_agent_v1_SystemInfoResponse>(
      caller, kAgentService, "SystemInfo", sluice_agent_v1_SystemInfoRequest{},
      std::move(on_answer), [](const sluice_agent_v1_SystemInfoResponse& response) {
        SystemInfo info{.kernel = std::string(text(response.kernel)),
                        .os_name = std::string(text(response.os_name)),
                        .os_version = std::string(text(response.os_version)),
                        .arch = std::string(text(response.arch)),
                        .hostname = std::string(text(response.hostname)),
                        .total_memory = response.total_memory,
                        .available_memory = response.available_memory,
                        .cpus = response.cpus,
                        .load = {response.load, response.load + response.load_count},
                        .uptime_ns = response.uptime_ns,
                        .interfaces = {}};
        for (pb_size_t i = 0; i < response.interfaces_count; ++i) {
          const sluice_agent_v1_Interface& one = response.interfaces[i];
          info.interfaces.push_back({.name = std::string(text(one.name)),
                                     .mac = std::string(text(one.mac)),
                                     .mtu = one.mtu,
                                     .up = one.up,
                                     .addresses = strings(one.addresses, one.addresses_count)});
        }
        return info;
      });
}

void boot_report(Caller& caller, OnAnswer<BootReport> on_answer) {
  call<sluice_agent_v1_BootReportResponse>(
      caller, kAgentService, "BootReport", sluice_agent_v1_BootReportRequest{},
      std::move(on_answer), [](const sluice_agent_v1_BootReportResponse& response) {
        BootReport report{.steps = {}, .complete = response.complete, .failed = response.failed};
        for (pb_size_t i = 0; i < response.steps_count; ++i) {
          const sluice_agent_v1_BootStep& step = response.steps[i];
          report.steps.push_back({.name = std::string(text(step.name)),
                                  .result = result_name(step.result),
                                  .mandatory = step.mandatory,
                                  .error = step.error_number,
                                  .message = std::string(text(step.message)),
                                  .started_ns = step.started_ns,
                                  .duration_ns = step.duration_ns});
        }
        return report;
      });
}

void list_processes(Caller& caller, OnAnswer<std::vector<ProcessInfo>> on_answer) {
  call<sluice_agent_v1_ListProcessesResponse>(
      caller, kProcess, "List", sluice_agent_v1_ListProcessesRequest{}, std::move(on_answer),
      [](const sluice_agent_v1_ListProcessesResponse& response) {
        std::vector<ProcessInfo> list;
        for (pb_size_t i = 0; i < response.processes_count; ++i) {
          const sluice_agent_v1_ProcessInfo& one = response.processes[i];
          list.push_back({.id = std::string(text(one.id)),
                          .pid = one.pid,
                          .args = strings(one.args, one.args_count),
                          .started_at_ns = one.started_at_ns,
                          .exit = std::nullopt});
          if (one.has_exit) list.back().exit = exit_of(one.exit);
        }
        return list;
      });
}

void shutdown(Caller& caller, bool reboot, Duration grace, OnAnswer<Done> on_answer) {
  sluice_agent_v1_ShutdownRequest request{};
  request.action = reboot ? sluice_agent_v1_ShutdownRequest_Action_REBOOT
                          : sluice_agent_v1_ShutdownRequest_Action_POWER_OFF;
  request.grace_ns = grace.count();
  call<sluice_agent_v1_ShutdownResponse>(
      caller, kAgentService, "Shutdown", request, std::move(on_answer),
      [](const sluice_agent_v1_ShutdownResponse&) { return Done{}; });
}

Exec::Exec(Caller& caller, const ExecSpec& spec, Events events)
    : caller_(caller), events_(std::move(events)), input_credit_(rpc::kInitialCredit) {
  std::vector<char*> args;
  for (const std::string& arg : spec.args) args.push_back(const_cast<char*>(arg.c_str()));
  std::vector<sluice_agent_v1_ExecStart_EnvEntry> env;
  for (const auto& [name, value] : spec.env) {
    env.push_back(
        {.key = const_cast<char*>(name.c_str()), .value = const_cast<char*>(value.c_str())});
  }
  sluice_agent_v1_ExecRequest request{};
  request.which_message = sluice_agent_v1_ExecRequest_start_tag;
  sluice_agent_v1_ExecStart& start = request.message.start;
  start.args_count = static_cast<pb_size_t>(args.size());
  start.args = args.data();
  start.env_count = static_cast<pb_size_t>(env.size());
  start.env = env.data();
  start.cwd = field(spec.cwd);
  start.user = field(spec.user);
  start.has_terminal = spec.terminal.has_value();
  if (spec.terminal)
    start.terminal = {.rows = spec.terminal->rows, .columns = spec.terminal->columns};
  start.no_stdin = spec.no_stdin;
  start.detach = spec.detach;
  start.timeout_ns = spec.timeout.count();
  start.container = field(spec.container);
  begin(spec.container.empty() ? kProcess : kContainer, "Exec", rpc::encode(request));
}

Exec::Exec(Caller& caller, const AttachSpec& spec, Events events)
    : caller_(caller),
      events_(std::move(events)),
      attached_to_(spec.container),
      input_credit_(rpc::kInitialCredit) {
  sluice_agent_v1_AttachRequest request{};
  request.which_message = sluice_agent_v1_AttachRequest_start_tag;
  request.message.start = {.container = field(spec.container), .no_stdin = spec.no_stdin};
  begin(kContainer, "Attach", rpc::encode(request));
}

void Exec::begin(std::string_view service, std::string_view method, ConstBytes request) {
  stream_ = caller_.begin(
      service, method, request,
      {.on_message = [this](ConstBytes bytes) { on_message(bytes); },
       .on_end = [this](const CallError& error, ConstBytes) { events_.on_end(error, exit_); }},
      true);
}

/// Of the messages' fields only the first and the last differ.
bool Exec::take_attach_message(ConstBytes bytes) {
  auto response = rpc::Message<sluice_agent_v1_AttachResponse>::parse(bytes);
  if (!response) return true;
  const auto& message = (*response)->message;
  if ((*response)->which_message == sluice_agent_v1_AttachResponse_attached_tag) {
    if (events_.on_started) events_.on_started(attached_to_, 0);
    return true;
  }
  if ((*response)->which_message == sluice_agent_v1_AttachResponse_lost_tag) {
    if (events_.on_lost) events_.on_lost(message.lost);
    return true;
  }
  if ((*response)->which_message != sluice_agent_v1_AttachResponse_exit_tag) return false;
  exit_ = {.code = message.exit.code, .signal = message.exit.signal};
  return true;
}

void Exec::on_message(ConstBytes bytes) {
  if (!attached_to_.empty() && take_attach_message(bytes)) return;
  auto response = rpc::Message<sluice_agent_v1_ExecResponse>::parse(bytes);
  if (!response) return;
  const auto& message = (*response)->message;
  switch ((*response)->which_message) {
    case sluice_agent_v1_ExecResponse_started_tag:
      if (events_.on_started)
        events_.on_started(std::string(text(message.started.id)), message.started.pid);
      break;
    case sluice_agent_v1_ExecResponse_stdout_tag:
      events_.on_output(false, rpc::bytes_of(message.stdout));
      break;
    case sluice_agent_v1_ExecResponse_stderr_tag:
      events_.on_output(true, rpc::bytes_of(message.stderr));
      break;
    case sluice_agent_v1_ExecResponse_grant_tag:
      input_credit_ += message.grant;
      if (events_.on_input_room) events_.on_input_room();
      break;
    case sluice_agent_v1_ExecResponse_exit_tag:
      exit_ = exit_of(message.exit);
      break;
    default:
      break;
  }
}

void Exec::write(ConstBytes bytes) {
  input_credit_ -= bytes.size();
  send_bytes(caller_, stream_, sluice_agent_v1_ExecRequest_stdin_tag, bytes);
}

void Exec::close_input() {
  sluice_agent_v1_ExecRequest request{};
  request.which_message = sluice_agent_v1_ExecRequest_stdin_closed_tag;
  request.message.stdin_closed = true;
  caller_.send(stream_, rpc::encode(request));
}

void Exec::consumed(std::size_t bytes) {
  std::uint32_t grant = consumed_.add(bytes);
  if (grant == 0) return;
  sluice_agent_v1_ExecRequest request{};
  request.which_message = sluice_agent_v1_ExecRequest_grant_tag;
  request.message.grant = grant;
  caller_.send(stream_, rpc::encode(request));
}

void Exec::resize(TerminalSize size) {
  sluice_agent_v1_ExecRequest request{};
  request.which_message = sluice_agent_v1_ExecRequest_resize_tag;
  request.message.resize = {.rows = size.rows, .columns = size.columns};
  caller_.send(stream_, rpc::encode(request));
}

void Exec::signal(std::uint32_t signal) {
  if (!attached_to_.empty()) {
    kill_container(caller_, attached_to_, std::to_string(signal), [](const CallError&, Done) {});
    return;
  }
  sluice_agent_v1_ExecRequest request{};
  request.which_message = sluice_agent_v1_ExecRequest_signal_tag;
  request.message.signal = signal;
  caller_.send(stream_, rpc::encode(request));
}

}  // namespace sluice::agent::client
