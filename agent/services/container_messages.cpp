#include "agent/services/container_messages.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>

#include "agent/container/log_reader.h"
#include "agent/container/log_writer.h"
#include "agent/os/file.h"
#include "agent/rpc/message.h"

namespace sluice::agent {

namespace {

using rpc::strings;
using rpc::text;

constexpr std::int64_t kUsualStopNs = 10'000'000'000;
constexpr std::uint64_t kLeastLogFile = 64 << 10;
constexpr std::uint64_t kMostLogFile = std::uint64_t{1} << 30;
constexpr std::uint32_t kMostLogFiles = 100;
constexpr std::size_t kShortId = 12;
constexpr std::size_t kMostHostName = 64;
constexpr std::uint32_t kMostSide = 0xFFFF;
constexpr std::size_t kShownArgBytes = 1024;

/// `env` has NAME=value; what it has of a name is replaced.
void set_env(std::vector<std::string>& env, std::string_view name, std::string_view value) {
  std::string line = fmt::format("{}={}", name, value);
  for (std::string& one : env) {
    if (one.size() > name.size() && one.starts_with(name) && one[name.size()] == '=') {
      one = std::move(line);
      return;
    }
  }
  env.push_back(std::move(line));
}

bool is_absolute(std::string_view path) {
  if (!path.starts_with('/')) return false;
  // A path that goes up is not what it seems to be.
  return path.find("/../") == std::string_view::npos && !path.ends_with("/..");
}

Result<ContainerMount> mount_of(const sluice_agent_v1_ContainerMount& mount) {
  ContainerMount result{.source = std::string(text(mount.source)),
                        .target = std::string(text(mount.target)),
                        .read_only = mount.read_only,
                        .size = mount.size};
  switch (mount.kind) {
    case sluice_agent_v1_ContainerMount_Kind_TMPFS:
      result.kind = ContainerMount::Kind::tmpfs;
      break;
    case sluice_agent_v1_ContainerMount_Kind_VIRTIOFS:
      result.kind = ContainerMount::Kind::virtiofs;
      break;
    default:
      result.kind = ContainerMount::Kind::bind;
  }
  if (!is_absolute(result.target) || result.target == "/") {
    return Status::invalid_argument(
        fmt::format("mounts: '{}' is no absolute path below /", result.target));
  }
  if (result.kind == ContainerMount::Kind::bind && !is_absolute(result.source)) {
    return Status::invalid_argument(fmt::format("mounts: '{}' is no absolute path", result.source));
  }
  if (result.kind == ContainerMount::Kind::virtiofs && result.source.empty()) {
    return Status::invalid_argument("mounts: the share's tag is missing");
  }
  return result;
}

Status take_image(const sluice_agent_v1_CreateContainerRequest& request,
                  const Containers& containers, ContainerSpec& spec, ImageConfig& config) {
  spec.image = text(request.image);
  spec.rootfs = text(request.rootfs);
  if (spec.image.empty() == spec.rootfs.empty()) {
    return Status::invalid_argument("one of image and rootfs is needed, and not both");
  }
  if (spec.image.empty()) {
    if (!is_absolute(spec.rootfs))
      return Status::invalid_argument("rootfs: an absolute path is needed");
    struct stat found{};
    if (::stat(spec.rootfs.c_str(), &found) == 0 && S_ISDIR(found.st_mode)) return Status::ok();
    return Status(StatusCode::not_found,
                  fmt::format("rootfs: there is no directory {}", spec.rootfs));
  }
  auto image = containers.find_image(spec.image);
  if (image) spec.image_id = image->id;
  if (!image) return image.status();
  spec.layers = image->layers;
  config = image->config;
  return Status::ok();
}

Status take_program(const sluice_agent_v1_CreateContainerRequest& request,
                    const ImageConfig& config, ContainerSpec& spec) {
  std::vector<std::string> entrypoint = strings(request.entrypoint, request.entrypoint_count);
  std::vector<std::string> args = strings(request.args, request.args_count);
  bool own_entrypoint = !entrypoint.empty() || request.no_entrypoint;
  if (!own_entrypoint) entrypoint = config.entrypoint;
  // An image's arguments are for its own entrypoint.
  if (args.empty() && !own_entrypoint) args = config.cmd;
  spec.args = std::move(entrypoint);
  spec.args.insert(spec.args.end(), args.begin(), args.end());
  if (spec.args.empty() || spec.args[0].empty()) {
    return Status::invalid_argument(
        "args: the program to run is missing, and the image names none");
  }
  spec.env = config.env;
  for (pb_size_t i = 0; i < request.env_count; ++i) {
    std::string_view name = text(request.env[i].key);
    if (name.empty() || name.find('=') != std::string_view::npos) {
      return Status::invalid_argument(fmt::format("env: '{}' is no variable's name", name));
    }
    set_env(spec.env, name, text(request.env[i].value));
  }
  spec.cwd = text(request.cwd);
  if (spec.cwd.empty()) spec.cwd = config.working_dir.empty() ? "/" : config.working_dir;
  if (!spec.cwd.starts_with('/'))
    return Status::invalid_argument("cwd: an absolute path is needed");
  spec.user = text(request.user);
  if (spec.user.empty()) spec.user = config.user;
  return Status::ok();
}

Status take_stop(const sluice_agent_v1_CreateContainerRequest& request, const ImageConfig& config,
                 ContainerSpec& spec) {
  std::string_view name = text(request.stop_signal);
  if (name.empty()) name = config.stop_signal;
  if (!name.empty()) {
    auto signal = parse_signal(name);
    if (!signal)
      return Status::invalid_argument(fmt::format("stop_signal: '{}' is no signal", name));
    spec.stop_signal = *signal;
  }
  spec.stop_timeout_ns = request.stop_timeout_ns > 0 ? request.stop_timeout_ns : kUsualStopNs;
  return Status::ok();
}

Status take_network(const sluice_agent_v1_CreateContainerRequest& request,
                    const Containers& containers, ContainerSpec& spec) {
  bool has_bridge = containers.bridge().is_configured();
  std::string_view asked = text(request.network);
  if (asked.empty()) {
    spec.network = has_bridge ? ContainerNetwork::bridge : ContainerNetwork::none;
  } else if (auto network = parse_network(asked)) {
    spec.network = *network;
  } else {
    return Status::invalid_argument(
        fmt::format("network: '{}' is not bridge, host or none", asked));
  }
  if (spec.network == ContainerNetwork::bridge && !has_bridge) {
    return Status::invalid_argument(
        "network: there is no bridge, as sluice.containers names no prefix for it");
  }
  spec.aliases = strings(request.aliases, request.aliases_count);
  spec.dns = strings(request.dns, request.dns_count);
  for (const std::string& one : spec.dns) {
    if (!IpAddress::parse(one))
      return Status::invalid_argument(fmt::format("dns: '{}' is no address", one));
  }
  spec.dns_search = strings(request.dns_search, request.dns_search_count);
  for (const std::string& one : spec.dns_search) {
    if (!DomainName::parse(one))
      return Status::invalid_argument(fmt::format("dns_search: '{}' is no name", one));
  }
  return Status::ok();
}

Status take_names(const sluice_agent_v1_CreateContainerRequest& request, ContainerSpec& spec) {
  spec.id = random_id();
  spec.name = text(request.name);
  std::string short_id = spec.id.substr(0, kShortId);
  if (spec.name.empty()) spec.name = "c" + short_id;
  if (!is_container_name(spec.name)) {
    return Status::invalid_argument(fmt::format(
        "name: '{}' is none (letters, digits, '_', '.', '-'; 1 to 128, no sign first)", spec.name));
  }
  spec.hostname = text(request.hostname);
  if (spec.hostname.empty()) spec.hostname = short_id;
  if (spec.hostname.size() > kMostHostName || !is_container_name(spec.hostname)) {
    return Status::invalid_argument(fmt::format("hostname: '{}' is none", spec.hostname));
  }
  return Status::ok();
}

void take_log(const sluice_agent_v1_CreateContainerRequest& request, ContainerSpec& spec) {
  LogWriter::Limits usual;
  spec.log_file_bytes = request.has_log && request.log.file_bytes > 0
                            ? std::clamp(request.log.file_bytes, kLeastLogFile, kMostLogFile)
                            : usual.file_bytes;
  spec.log_files = request.has_log && request.log.files > 0
                       ? std::clamp<std::uint32_t>(request.log.files, 2, kMostLogFiles)
                       : usual.files;
  if (request.log_format == sluice_agent_v1_LogFormat_LOG_FORMAT_JSON_FILE) {
    spec.log_format = LogFormat::json;
  }
}

sluice_agent_v1_ContainerInfo_State state_message(Container::State state) {
  switch (state) {
    case Container::State::running:
      return sluice_agent_v1_ContainerInfo_State_RUNNING;
    case Container::State::paused:
      return sluice_agent_v1_ContainerInfo_State_PAUSED;
    case Container::State::stopped:
    case Container::State::removed:
      return sluice_agent_v1_ContainerInfo_State_STOPPED;
    case Container::State::restarting:
      return sluice_agent_v1_ContainerInfo_State_RESTARTING;
    case Container::State::created:
    case Container::State::starting:
      break;
  }
  return sluice_agent_v1_ContainerInfo_State_CREATED;
}

/// A list of all has to fit into one message.
std::vector<std::string> cut(const std::vector<std::string>& args) {
  std::vector<std::string> shown;
  std::size_t room = kShownArgBytes;
  for (const std::string& arg : args) {
    if (arg.size() + 1 > room) break;
    room -= arg.size() + 1;
    shown.push_back(arg);
  }
  return shown;
}

sluice_agent_v1_ContainerLimits limits_message(const ContainerLimits& limits, MessageStore& store) {
  return {.memory = limits.memory,
          .memory_swap = limits.memory_swap,
          .cpu_millis = limits.cpu_millis,
          .cpu_weight = limits.cpu_weight,
          .cpus = store.text(limits.cpus),
          .pids = limits.pids,
          .io_weight = limits.io_weight};
}

}  // namespace

char* MessageStore::text(const std::string& value) {
  return rpc::field(texts_.emplace_back(rpc::valid_utf8(value)));
}

char** MessageStore::list(const std::vector<std::string>& values) {
  static char empty[] = "";
  char** pointers = array<char*>(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    char* one = text(values[i]);
    pointers[i] = one ? one : empty;
  }
  return pointers;
}

Result<ContainerLimits> limits_of(const sluice_agent_v1_ContainerLimits& limits) {
  constexpr std::uint64_t kMostMillis = 1'000'000;
  constexpr std::uint64_t kLeastMemory = 512 << 10;
  std::string cpus(text(limits.cpus));
  if (cpus.find_first_not_of("0123456789,-") != std::string::npos) {
    return Status::invalid_argument(fmt::format("limits: '{}' is no list of CPUs", cpus));
  }
  if (limits.memory > 0 && limits.memory < kLeastMemory) {
    return Status::invalid_argument("limits: 512 KiB of memory are the least");
  }
  if (limits.cpu_millis > kMostMillis || limits.cpu_weight > 10000 || limits.io_weight > 1000) {
    return Status::invalid_argument(
        "limits: cpu_millis 1 to 1000000, cpu_weight 1 to 10000, io_weight 1 to 1000");
  }
  return ContainerLimits{.memory = limits.memory,
                         .memory_swap = limits.memory_swap,
                         .cpu_millis = limits.cpu_millis,
                         .cpu_weight = limits.cpu_weight,
                         .cpus = std::move(cpus),
                         .pids = limits.pids,
                         .io_weight = limits.io_weight};
}

RestartPolicy restart_of(const sluice_agent_v1_RestartPolicy& restart) {
  RestartPolicy policy{.most = restart.most};
  if (restart.kind == sluice_agent_v1_RestartPolicy_Kind_ON_FAILURE) {
    policy.kind = RestartPolicy::Kind::on_failure;
  } else if (restart.kind == sluice_agent_v1_RestartPolicy_Kind_ALWAYS) {
    policy.kind = RestartPolicy::Kind::always;
  }
  return policy;
}

Result<ContainerSpec> spec_of(const sluice_agent_v1_CreateContainerRequest& request,
                              const Containers& containers, std::int64_t now_ns) {
  ContainerSpec spec;
  ImageConfig config;
  spec.created_at_ns = now_ns;
  Status status = take_names(request, spec);
  if (status) status = take_image(request, containers, spec, config);
  if (status) status = take_program(request, config, spec);
  if (status) status = take_stop(request, config, spec);
  if (status) status = take_network(request, containers, spec);
  if (!status) return status;
  take_log(request, spec);
  if (request.has_terminal) {
    auto side = [](std::uint32_t value, std::uint16_t usual) {
      return value == 0 ? usual : static_cast<std::uint16_t>(std::min(value, kMostSide));
    };
    spec.terminal = {.rows = side(request.terminal.rows, TerminalSize().rows),
                     .columns = side(request.terminal.columns, TerminalSize().columns)};
  }
  spec.open_stdin = request.open_stdin;
  spec.read_only = request.read_only;
  for (pb_size_t i = 0; i < request.mounts_count; ++i) {
    auto mount = mount_of(request.mounts[i]);
    if (!mount) return mount.status();
    spec.mounts.push_back(std::move(*mount));
  }
  if (request.has_limits) {
    auto limits = limits_of(request.limits);
    if (!limits) return limits.status();
    spec.limits = std::move(*limits);
  }
  auto capabilities =
      capabilities_of(strings(request.add_capabilities, request.add_capabilities_count),
                      strings(request.drop_capabilities, request.drop_capabilities_count));
  if (!capabilities) return capabilities.status();
  spec.capabilities = std::move(*capabilities);
  spec.no_new_privileges = request.no_new_privileges;
  if (request.has_restart) spec.restart = restart_of(request.restart);
  spec.labels = config.labels;
  for (pb_size_t i = 0; i < request.labels_count; ++i) {
    spec.labels[std::string(text(request.labels[i].key))] = text(request.labels[i].value);
  }
  spec.auto_remove = request.auto_remove;
  spec.all_devices = request.all_devices;
  if (spec.auto_remove && spec.restart.kind != RestartPolicy::Kind::no) {
    return Status::invalid_argument("auto_remove and a restart policy exclude each other");
  }
  return spec;
}

sluice_agent_v1_ContainerExit exit_message(const Container& container, MessageStore& store) {
  const auto& exit = container.status().exit;
  if (!exit) return {};
  return {.code = exit->code,
          .signal = exit->signal,
          .oom = exit->oom,
          .exited_at_ns = exit->at_ns,
          .error = store.text(exit->error),
          .lost = exit->lost};
}

sluice_agent_v1_ContainerInfo info_message(const Container& container, MessageStore& store) {
  const ContainerSpec& spec = container.spec();
  sluice_agent_v1_ContainerInfo info{};
  info.id = store.text(spec.id);
  info.name = store.text(spec.name);
  info.image = store.text(spec.image.empty() ? spec.rootfs : spec.image);
  std::vector<std::string> args = cut(spec.args);
  info.args_count = static_cast<pb_size_t>(args.size());
  info.args = store.list(args);
  info.state = state_message(container.state());
  info.pid = container.is_running() ? container.status().pid : 0;
  info.created_at_ns = spec.created_at_ns;
  info.started_at_ns = container.status().started_at_ns;
  info.has_exit = !container.is_alive() && container.status().exit.has_value();
  if (info.has_exit) info.exit = exit_message(container, store);
  info.restarts = container.restarts();
  info.labels_count = static_cast<pb_size_t>(spec.labels.size());
  info.labels = store.map<sluice_agent_v1_ContainerInfo_LabelsEntry>(spec.labels);
  info.addresses_count = static_cast<pb_size_t>(container.port().addresses.size());
  info.addresses = store.list(container.port().addresses);
  return info;
}

sluice_agent_v1_InspectContainerResponse inspect_message(const Container& container,
                                                         MessageStore& store) {
  const ContainerSpec& spec = container.spec();
  sluice_agent_v1_InspectContainerResponse response{};
  response.has_info = true;
  response.info = info_message(container, store);
  response.cwd = store.text(spec.cwd);
  response.env_count = static_cast<pb_size_t>(spec.env.size());
  response.env = store.list(spec.env);
  response.user = store.text(spec.user);
  response.hostname = store.text(spec.hostname);
  response.terminal = spec.terminal.has_value();
  response.read_only = spec.read_only;
  response.mounts_count = static_cast<pb_size_t>(spec.mounts.size());
  response.mounts = store.array<sluice_agent_v1_ContainerMount>(spec.mounts.size());
  for (std::size_t i = 0; i < spec.mounts.size(); ++i) {
    const ContainerMount& mount = spec.mounts[i];
    response.mounts[i] = {.kind = static_cast<sluice_agent_v1_ContainerMount_Kind>(mount.kind),
                          .source = store.text(mount.source),
                          .target = store.text(mount.target),
                          .read_only = mount.read_only,
                          .size = mount.size};
  }
  response.has_limits = true;
  response.limits = limits_message(spec.limits, store);
  response.has_restart = true;
  response.restart = {.kind = static_cast<sluice_agent_v1_RestartPolicy_Kind>(spec.restart.kind),
                      .most = spec.restart.most};
  response.stop_signal = store.text(fmt::format("{}", spec.stop_signal));
  response.network = store.text(to_string(spec.network));
  response.aliases_count = static_cast<pb_size_t>(spec.aliases.size());
  response.aliases = store.list(spec.aliases);
  response.rootfs = store.text(container.rootfs());
  response.log_directory = store.text(container.log_directory());
  response.log_end = LogReader(container.log_directory()).end();
  if (container.spec().log_format == LogFormat::json) {
    response.log_format = sluice_agent_v1_LogFormat_LOG_FORMAT_JSON_FILE;
  }
  return response;
}

}  // namespace sluice::agent
