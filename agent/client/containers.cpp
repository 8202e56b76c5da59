#include "agent/client/containers.h"

#include "agent/client/unary.h"
#include "agent/rpc/credit.h"
#include "sluice/agent/v1/container.pb.h"

namespace sluice::agent::client {

namespace {

using rpc::CallError;
using rpc::field;
using rpc::strings;
using rpc::text;

constexpr std::string_view kService = "sluice.agent.v1.Container";

template <typename Entry>
std::vector<Entry> entries(const std::map<std::string, std::string>& map) {
  std::vector<Entry> result;
  for (const auto& [key, value] : map) {
    result.push_back(
        {.key = const_cast<char*>(key.c_str()), .value = const_cast<char*>(value.c_str())});
  }
  return result;
}

ContainerExit exit_of(const sluice_agent_v1_ContainerExit& exit) {
  return {.code = exit.code,
          .signal = exit.signal,
          .oom = exit.oom,
          .at_ns = exit.exited_at_ns,
          .error = std::string(text(exit.error))};
}

const char* state_name(sluice_agent_v1_ContainerInfo_State state) {
  switch (state) {
    case sluice_agent_v1_ContainerInfo_State_CREATED:
      return "created";
    case sluice_agent_v1_ContainerInfo_State_RUNNING:
      return "running";
    case sluice_agent_v1_ContainerInfo_State_PAUSED:
      return "paused";
    case sluice_agent_v1_ContainerInfo_State_STOPPED:
      return "stopped";
    case sluice_agent_v1_ContainerInfo_State_RESTARTING:
      return "restarting";
    default:
      return "unknown";
  }
}

ContainerInfo info_of(const sluice_agent_v1_ContainerInfo& info) {
  ContainerInfo result{.id = std::string(text(info.id)),
                       .name = std::string(text(info.name)),
                       .image = std::string(text(info.image)),
                       .args = strings(info.args, info.args_count),
                       .state = state_name(info.state),
                       .pid = info.pid,
                       .created_at_ns = info.created_at_ns,
                       .started_at_ns = info.started_at_ns,
                       .exit = std::nullopt,
                       .restarts = info.restarts,
                       .labels = {},
                       .addresses = strings(info.addresses, info.addresses_count)};
  if (info.has_exit) result.exit = exit_of(info.exit);
  for (pb_size_t i = 0; i < info.labels_count; ++i) {
    result.labels[std::string(text(info.labels[i].key))] = text(info.labels[i].value);
  }
  return result;
}

/// A call that names a container and is answered with nothing of interest.
template <typename Request, typename Response>
void tell(Caller& caller, std::string_view method, Request request, const std::string& name,
          OnAnswer<Done> on_answer) {
  request.container = field(name);
  call<Response>(caller, kService, method, request, std::move(on_answer),
                 [](const Response&) { return Done{}; });
}

}  // namespace

void create_container(Caller& caller, const ContainerSpec& spec, OnAnswer<std::string> on_answer) {
  auto args = fields_of(spec.args);
  auto add = fields_of(spec.add_capabilities);
  auto drop = fields_of(spec.drop_capabilities);
  auto env = entries<sluice_agent_v1_CreateContainerRequest_EnvEntry>(spec.env);
  auto labels = entries<sluice_agent_v1_CreateContainerRequest_LabelsEntry>(spec.labels);
  std::vector<sluice_agent_v1_ContainerMount> mounts;
  for (const ContainerMount& mount : spec.mounts) {
    mounts.push_back({.kind = static_cast<sluice_agent_v1_ContainerMount_Kind>(mount.kind),
                      .source = field(mount.source),
                      .target = field(mount.target),
                      .read_only = mount.read_only,
                      .size = mount.size});
  }
  char* entrypoint = field(spec.entrypoint);
  sluice_agent_v1_CreateContainerRequest request{};
  request.name = field(spec.name);
  request.image = field(spec.image);
  request.rootfs = field(spec.rootfs);
  request.entrypoint_count = entrypoint ? 1 : 0;
  request.entrypoint = &entrypoint;
  request.args_count = static_cast<pb_size_t>(args.size());
  request.args = args.data();
  request.env_count = static_cast<pb_size_t>(env.size());
  request.env = env.data();
  request.cwd = field(spec.cwd);
  request.user = field(spec.user);
  request.hostname = field(spec.hostname);
  request.has_terminal = spec.terminal.has_value();
  if (spec.terminal) {
    request.terminal = {.rows = spec.terminal->rows, .columns = spec.terminal->columns};
  }
  request.open_stdin = spec.open_stdin;
  request.read_only = spec.read_only;
  request.mounts_count = static_cast<pb_size_t>(mounts.size());
  request.mounts = mounts.data();
  request.has_limits = true;
  request.limits.memory = spec.limits.memory;
  request.limits.cpu_millis = spec.limits.cpu_millis;
  request.limits.pids = spec.limits.pids;
  request.add_capabilities_count = static_cast<pb_size_t>(add.size());
  request.add_capabilities = add.data();
  request.drop_capabilities_count = static_cast<pb_size_t>(drop.size());
  request.drop_capabilities = drop.data();
  request.no_new_privileges = spec.no_new_privileges;
  request.has_restart = true;
  request.restart = {.kind = static_cast<sluice_agent_v1_RestartPolicy_Kind>(spec.restart),
                     .most = spec.most_restarts};
  request.labels_count = static_cast<pb_size_t>(labels.size());
  request.labels = labels.data();
  request.network = field(spec.network);
  request.auto_remove = spec.auto_remove;
  if (spec.json_log) request.log_format = sluice_agent_v1_LogFormat_LOG_FORMAT_JSON_FILE;
  request.all_devices = spec.all_devices;
  call<sluice_agent_v1_CreateContainerResponse>(
      caller, kService, "Create", request, std::move(on_answer),
      [](const sluice_agent_v1_CreateContainerResponse& response) {
        return std::string(text(response.id));
      });
}

void start_container(Caller& caller, const std::string& name, OnAnswer<Done> on_answer) {
  tell<sluice_agent_v1_StartContainerRequest, sluice_agent_v1_StartContainerResponse>(
      caller, "Start", {}, name, std::move(on_answer));
}

void stop_container(Caller& caller, const std::string& name, const std::string& signal,
                    Duration timeout, OnAnswer<ContainerExit> on_answer) {
  sluice_agent_v1_StopContainerRequest request{
      .container = field(name), .signal = field(signal), .timeout_ns = timeout.count()};
  call<sluice_agent_v1_StopContainerResponse>(
      caller, kService, "Stop", request, std::move(on_answer),
      [](const sluice_agent_v1_StopContainerResponse& response) { return exit_of(response.exit); });
}

void kill_container(Caller& caller, const std::string& name, const std::string& signal,
                    OnAnswer<Done> on_answer) {
  tell<sluice_agent_v1_KillContainerRequest, sluice_agent_v1_KillContainerResponse>(
      caller, "Kill", {.signal = field(signal)}, name, std::move(on_answer));
}

void pause_container(Caller& caller, const std::string& name, OnAnswer<Done> on_answer) {
  tell<sluice_agent_v1_PauseContainerRequest, sluice_agent_v1_PauseContainerResponse>(
      caller, "Pause", {}, name, std::move(on_answer));
}

void resume_container(Caller& caller, const std::string& name, OnAnswer<Done> on_answer) {
  tell<sluice_agent_v1_ResumeContainerRequest, sluice_agent_v1_ResumeContainerResponse>(
      caller, "Resume", {}, name, std::move(on_answer));
}

void wait_for_container(Caller& caller, const std::string& name,
                        OnAnswer<ContainerExit> on_answer) {
  sluice_agent_v1_WaitContainerRequest request{.container = field(name)};
  call<sluice_agent_v1_WaitContainerResponse>(
      caller, kService, "Wait", request, std::move(on_answer),
      [](const sluice_agent_v1_WaitContainerResponse& response) { return exit_of(response.exit); });
}

void remove_container(Caller& caller, const std::string& name, bool force,
                      OnAnswer<Done> on_answer) {
  tell<sluice_agent_v1_RemoveContainerRequest, sluice_agent_v1_RemoveContainerResponse>(
      caller, "Remove", {.force = force}, name, std::move(on_answer));
}

void list_containers(Caller& caller, bool all, OnAnswer<std::vector<ContainerInfo>> on_answer) {
  sluice_agent_v1_ListContainersRequest request{};
  request.all = all;
  call<sluice_agent_v1_ListContainersResponse>(
      caller, kService, "List", request, std::move(on_answer),
      [](const sluice_agent_v1_ListContainersResponse& response) {
        std::vector<ContainerInfo> list;
        for (pb_size_t i = 0; i < response.containers_count; ++i) {
          list.push_back(info_of(response.containers[i]));
        }
        return list;
      });
}

void inspect_container(Caller& caller, const std::string& name,
                       OnAnswer<ContainerDetails> on_answer) {
  sluice_agent_v1_InspectContainerRequest request{.container = field(name)};
  call<sluice_agent_v1_InspectContainerResponse>(
      caller, kService, "Inspect", request, std::move(on_answer),
      [](const sluice_agent_v1_InspectContainerResponse& response) {
        ContainerDetails details{.info = info_of(response.info),
                                 .cwd = std::string(text(response.cwd)),
                                 .user = std::string(text(response.user)),
                                 .hostname = std::string(text(response.hostname)),
                                 .network = std::string(text(response.network)),
                                 .rootfs = std::string(text(response.rootfs)),
                                 .log_directory = std::string(text(response.log_directory)),
                                 .env = strings(response.env, response.env_count),
                                 .mounts = {},
                                 .limits = {.memory = response.limits.memory,
                                            .cpu_millis = response.limits.cpu_millis,
                                            .pids = response.limits.pids},
                                 .terminal = response.terminal,
                                 .read_only = response.read_only};
        for (pb_size_t i = 0; i < response.mounts_count; ++i) {
          const sluice_agent_v1_ContainerMount& mount = response.mounts[i];
          details.mounts.push_back({.kind = static_cast<ContainerMount::Kind>(mount.kind),
                                    .source = std::string(text(mount.source)),
                                    .target = std::string(text(mount.target)),
                                    .read_only = mount.read_only,
                                    .size = mount.size});
        }
        return details;
      });
}

void container_stats(Caller& caller, const std::string& name, OnAnswer<ContainerStats> on_answer) {
  sluice_agent_v1_ContainerStatsRequest request{.container = field(name)};
  call<sluice_agent_v1_ContainerStatsResponse>(
      caller, kService, "Stats", request, std::move(on_answer),
      [](const sluice_agent_v1_ContainerStatsResponse& response) {
        return ContainerStats{.cpu_ns = response.cpu_ns,
                              .memory = response.memory,
                              .memory_limit = response.memory_limit,
                              .pids = response.pids,
                              .read_bytes = response.read_bytes,
                              .written_bytes = response.written_bytes,
                              .sent_bytes = response.sent_bytes,
                              .received_bytes = response.received_bytes};
      });
}

ContainerLogs::ContainerLogs(Caller& caller, const LogsSpec& spec, Events events)
    : caller_(caller), events_(std::move(events)) {
  sluice_agent_v1_LogsRequest request{};
  request.which_message = sluice_agent_v1_LogsRequest_start_tag;
  request.message.start.container = field(spec.container);
  request.message.start.follow = spec.follow;
  request.message.start.tail = spec.tail;
  request.message.start.since_ns = spec.since_ns;
  request.message.start.until_ns = spec.until_ns;
  request.message.start.no_stdout = !spec.out;
  request.message.start.no_stderr = !spec.err;
  stream_ = caller_.begin(
      kService, "Logs", rpc::encode(request),
      {.on_message = [this](ConstBytes bytes) { on_message(bytes); },
       .on_end = [this](const CallError& error, ConstBytes) { events_.on_end(error); }},
      true);
}

void ContainerLogs::on_message(ConstBytes bytes) {
  auto response = rpc::Message<sluice_agent_v1_LogsResponse>::parse(bytes);
  if (!response) return;
  bool is_record = (*response)->which_message == sluice_agent_v1_LogsResponse_record_tag;
  const auto& message = (*response)->message;
  std::uint64_t lost = is_record ? message.record.lost : message.end.lost;
  if (lost > 0 && events_.on_lost) events_.on_lost(lost);
  if (!is_record) return;
  const sluice_agent_v1_LogRecord& record = message.record;
  ConstBytes data = rpc::bytes_of(record.data);
  events_.on_record(record.is_stderr, record.time_ns, data);
  std::uint32_t grant = consumed_.add(data.size());
  if (grant == 0) return;
  sluice_agent_v1_LogsRequest request{};
  request.which_message = sluice_agent_v1_LogsRequest_grant_tag;
  request.message.grant = grant;
  caller_.send(stream_, rpc::encode(request));
}

}  // namespace sluice::agent::client
