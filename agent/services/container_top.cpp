#include "agent/services/container_top.h"

#include <fmt/format.h>
#include <unistd.h>

#include <array>

#include "agent/os/file.h"
#include "agent/os/process_stat.h"
#include "agent/os/text.h"
#include "agent/rpc/message.h"
#include "agent/services/container_messages.h"
#include "base/number.h"

namespace sluice::agent {

namespace {

constexpr std::uint64_t kNsPerUs = 1000;
constexpr std::size_t kMostProcesses = 2000;
constexpr std::size_t kShownArgBytes = 256;

bool runs(rpc::Call& call, const Container& container) {
  if (!container.is_running()) {
    call.fail({.code = rpc::Code::failed_precondition,
               .message = container.spec().name + " doesn't run"});
  }
  return container.is_running();
}

std::uint64_t link_counter(const std::string& link, const char* name) {
  return parse_number<std::uint64_t>(
             read_line(fmt::format("/sys/class/net/{}/statistics/{}", link, name)))
      .value_or(0);
}

/// A line "Name:\tvalue" of /proc/PID/status, up to its last word.
std::string_view status_value(const std::string& status, std::string_view name) {
  std::string_view rest = status;
  while (!rest.empty()) {
    std::string_view line = take_part(rest, '\n');
    if (take_part(line, ':') != name) continue;
    line.remove_prefix(std::min(line.size(), line.find_first_not_of(" \t")));
    return line;
  }
  return {};
}

std::uint64_t first_number(std::string_view text) {
  return parse_number<std::uint64_t>(text.substr(0, text.find_first_of(" \t"))).value_or(0);
}

std::vector<std::string> args_of(pid_t pid) {
  std::string line = read_file(fmt::format("/proc/{}/cmdline", pid)).value_or("");
  std::vector<std::string> args;
  std::string_view rest = line;
  std::size_t room = kShownArgBytes;
  while (!rest.empty() && room > 0) {
    std::string_view arg = take_part(rest, '\0').substr(0, room);
    room -= std::min(room, arg.size() + 1);
    args.emplace_back(arg);
  }
  return args;
}

}  // namespace

void answer_stats(rpc::Call& call, const Container& container, std::int64_t now_ns) {
  if (!runs(call, container)) return;
  CgroupUsage usage = container.cgroup().usage();
  sluice_agent_v1_ContainerStatsResponse response{};
  response.at_ns = now_ns;
  response.cpu_ns = usage.cpu_us * kNsPerUs;
  response.user_ns = usage.user_us * kNsPerUs;
  response.system_ns = usage.system_us * kNsPerUs;
  response.memory = usage.memory;
  response.memory_peak = usage.memory_peak;
  response.memory_limit = usage.memory_limit;
  response.oom_kills = usage.oom_kills;
  response.pids = usage.pids;
  response.pids_limit = usage.pids_limit;
  response.read_bytes = usage.read_bytes;
  response.written_bytes = usage.written_bytes;
  // What the bridge's end receives the container has sent.
  const std::string& link = container.port().link;
  if (!link.empty()) {
    response.sent_bytes = link_counter(link, "rx_bytes");
    response.received_bytes = link_counter(link, "tx_bytes");
  }
  call.reply_with(response);
}

void answer_top(rpc::Call& call, const Container& container) {
  if (!runs(call, container)) return;
  if (!container.cgroup().is_there()) {
    return call.fail({.code = rpc::Code::failed_precondition,
                      .message = "the processes are told by cgroup2, which is not here"});
  }
  MessageStore store;
  std::vector<sluice_agent_v1_ContainerProcess> processes;
  for (pid_t pid : container.cgroup().processes()) {
    if (processes.size() == kMostProcesses) break;
    auto status = read_file(fmt::format("/proc/{}/status", pid));
    // It may have ended since.
    if (!status) continue;
    std::string_view inner = status_value(*status, "NSpid");
    inner.remove_prefix(std::min(inner.size(), inner.find_last_of(" \t") + 1));
    std::vector<std::string> args = args_of(pid);
    if (args.empty()) args.push_back(fmt::format("[{}]", status_value(*status, "Name")));
    sluice_agent_v1_ContainerProcess process{};
    process.pid = pid;
    process.inner_pid = static_cast<std::int32_t>(first_number(inner));
    process.parent_pid = static_cast<std::int32_t>(first_number(status_value(*status, "PPid")));
    process.uid = static_cast<std::uint32_t>(first_number(status_value(*status, "Uid")));
    process.state = store.text(std::string(status_value(*status, "State").substr(0, 1)));
    auto stat = parse_process_stat(read_file(fmt::format("/proc/{}/stat", pid)).value_or(""));
    process.cpu_ns = stat ? stat->cpu_ns : 0;
    process.memory = first_number(status_value(*status, "VmRSS")) << 10;
    process.args_count = static_cast<pb_size_t>(args.size());
    process.args = store.list(args);
    processes.push_back(process);
  }
  sluice_agent_v1_TopContainerResponse response{};
  response.processes_count = static_cast<pb_size_t>(processes.size());
  response.processes = processes.data();
  call.reply_with(response);
}

}  // namespace sluice::agent
