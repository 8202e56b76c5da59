#include "agent/legacy/messages.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>

#include "agent/legacy/frame.h"
#include "agent/legacy/stream_answers.h"
#include "agent/legacy/types.h"
#include "agent/os/clock.h"
#include "agent/rpc/message.h"
#include "base/loop.h"
#include "sluice/agent/v1/agent.pb.h"
#include "sluice/agent/v1/container.pb.h"
#include "sluice/agent/v1/process.pb.h"
#include "sluice/legacy/v1/legacy.pb.h"

namespace sluice::agent::legacy {

namespace {

using rpc::field;
using rpc::Message;
using rpc::text;

constexpr std::string_view kAgent = "sluice.agent.v1.Agent";
constexpr std::string_view kContainer = "sluice.agent.v1.Container";
constexpr std::string_view kProcess = "sluice.agent.v1.Process";
/// Of a terminal whose size nobody says.
constexpr sluice_agent_v1_TerminalSize kTerminal{.rows = 24, .columns = 80};

void append(std::vector<std::uint8_t>& out, Type type, ConstBytes payload = {}) {
  append_frame(out, static_cast<std::uint32_t>(type), payload);
}

/// What the agent itself has encoded can be read; a surprise is an error all the same.
template <typename T>
Result<Message<T>> read_own(ConstBytes bytes, std::vector<std::uint8_t>& out) {
  auto message = Message<T>::parse(bytes);
  if (!message) append_error(out, error_code(rpc::Code::internal), "an answer can't be read");
  return message;
}

/// A message that only names a container: of Start, Pause and Resume alike.
std::vector<std::uint8_t> container_named(const char* id) {
  sluice_agent_v1_StartContainerRequest request{};
  request.container = const_cast<char*>(id);
  return rpc::encode(request);
}

// ---- Answers

/// Of a call that only says that it is done.
class Done final : public Answers {
 public:
  void on_reply(ConstBytes, std::vector<std::uint8_t>& out) override { append(out, Type::empty); }
};

class Pong final : public Answers {
 public:
  explicit Pong(std::string_view said) : word_("pong") {
    if (!said.empty()) word_ += fmt::format(": {}", said);
  }
  void on_reply(ConstBytes bytes, std::vector<std::uint8_t>& out) override {
    auto pong = read_own<sluice_agent_v1_PingResponse>(bytes, out);
    if (!pong) return;
    sluice_legacy_v1_PingResponse answer{};
    answer.message = field(word_);
    answer.version = (*pong)->version;
    append(out, Type::pong, rpc::encode(answer));
  }

 private:
  std::string word_;
};

class System final : public Answers {
 public:
  void on_reply(ConstBytes bytes, std::vector<std::uint8_t>& out) override {
    auto info = read_own<sluice_agent_v1_SystemInfoResponse>(bytes, out);
    if (!info) return;
    const auto& own = **info;
    std::vector<std::string> addresses;
    for (pb_size_t i = 0; i < own.interfaces_count; ++i) {
      for (pb_size_t j = 0; j < own.interfaces[i].addresses_count; ++j) {
        std::string_view one = text(own.interfaces[i].addresses[j]);
        addresses.emplace_back(one.substr(0, one.find('/')));
      }
    }
    std::vector<char*> fields;
    for (const std::string& one : addresses) fields.push_back(field(one));
    sluice_legacy_v1_SystemInfo answer{};
    answer.kernel_version = own.kernel;
    answer.os_name = own.os_name;
    answer.os_version = own.os_version;
    answer.arch = own.arch;
    answer.total_memory = own.total_memory;
    answer.available_memory = own.available_memory;
    answer.cpu_count = own.cpus;
    answer.load_average_count = own.load_count;
    answer.load_average = own.load;
    answer.hostname = own.hostname;
    answer.uptime = static_cast<std::uint64_t>(own.uptime_ns / kNsPerSecond);
    answer.ip_addresses_count = static_cast<pb_size_t>(fields.size());
    answer.ip_addresses = fields.data();
    append(out, Type::system_info_answer, rpc::encode(answer));
  }
};

class Created final : public Answers {
 public:
  void on_reply(ConstBytes bytes, std::vector<std::uint8_t>& out) override {
    auto created = read_own<sluice_agent_v1_CreateContainerResponse>(bytes, out);
    if (!created) return;
    sluice_legacy_v1_CreateContainerResponse answer{};
    answer.id = (*created)->id;
    append(out, Type::created, rpc::encode(answer));
  }
};

/// State and status of a container, as the older clients know them.
std::pair<const char*, std::string> state_of(const sluice_agent_v1_ContainerInfo& container) {
  switch (container.state) {
    case sluice_agent_v1_ContainerInfo_State_CREATED:
      return {"created", "Created"};
    case sluice_agent_v1_ContainerInfo_State_RUNNING:
      return {"running", fmt::format("Running (PID: {})", container.pid)};
    case sluice_agent_v1_ContainerInfo_State_PAUSED:
      return {"paused", "Paused"};
    default:
      return {"stopped", fmt::format("Exited ({})", container.exit.code)};
  }
}

class Listed final : public Answers {
 public:
  void on_reply(ConstBytes bytes, std::vector<std::uint8_t>& out) override {
    auto list = read_own<sluice_agent_v1_ListContainersResponse>(bytes, out);
    if (!list) return;
    const auto& own = **list;
    std::vector<std::pair<const char*, std::string>> states;
    for (pb_size_t i = 0; i < own.containers_count; ++i) {
      states.push_back(state_of(own.containers[i]));
    }
    std::vector<sluice_legacy_v1_ContainerInfo> infos;
    for (pb_size_t i = 0; i < own.containers_count; ++i) {
      const auto& one = own.containers[i];
      infos.push_back({.id = one.id,
                       .name = one.name,
                       .image = one.image,
                       .state = const_cast<char*>(states[i].first),
                       .status = field(states[i].second),
                       .created = one.created_at_ns / kNsPerSecond});
    }
    sluice_legacy_v1_ListContainersResponse answer{};
    answer.containers_count = static_cast<pb_size_t>(infos.size());
    answer.containers = infos.data();
    append(out, Type::list_answer, rpc::encode(answer));
  }
};

// ---- Requests

Result<Translation> ping(ConstBytes payload) {
  auto request = Message<sluice_legacy_v1_PingRequest>::parse(payload);
  if (!request) return request.status();
  return Translation{kAgent, "Ping", {}, std::make_unique<Pong>(text((*request)->message))};
}

bool is_path(const char* image) {
  return text(image).starts_with('/');
}

Result<Translation> create(ConstBytes payload) {
  auto request = Message<sluice_legacy_v1_CreateContainerRequest>::parse(payload);
  if (!request) return request.status();
  const auto& asked = **request;
  std::vector<sluice_agent_v1_ContainerMount> mounts;
  for (pb_size_t i = 0; i < asked.mounts_count; ++i) {
    const auto& one = asked.mounts[i];
    std::string_view type = text(one.type);
    sluice_agent_v1_ContainerMount mount{};
    if (type == "tmpfs") {
      mount.kind = sluice_agent_v1_ContainerMount_Kind_TMPFS;
    } else if (type == "virtiofs") {
      mount.kind = sluice_agent_v1_ContainerMount_Kind_VIRTIOFS;
    } else if (!type.empty() && type != "bind") {
      return Status(StatusCode::invalid_argument,
                    fmt::format("a mount of type '{}': there are bind, tmpfs and virtiofs", type));
    }
    // A tmpfs has none, whatever is named.
    if (type != "tmpfs") mount.source = one.source;
    mount.target = one.target;
    mount.read_only = one.readonly;
    mounts.push_back(mount);
  }
  std::vector<sluice_agent_v1_CreateContainerRequest_EnvEntry> env;
  for (pb_size_t i = 0; i < asked.env_count; ++i) {
    env.push_back({.key = asked.env[i].key, .value = asked.env[i].value});
  }
  sluice_agent_v1_CreateContainerRequest own{};
  own.name = asked.name;
  own.image = is_path(asked.image) ? nullptr : asked.image;
  own.rootfs = is_path(asked.image) ? asked.image : asked.rootfs;
  own.entrypoint_count = asked.entrypoint_count;
  own.entrypoint = asked.entrypoint;
  own.args_count = asked.cmd_count;
  own.args = asked.cmd;
  own.env_count = static_cast<pb_size_t>(env.size());
  own.env = env.data();
  own.cwd = asked.working_dir;
  own.user = asked.user;
  own.has_terminal = asked.tty;
  own.terminal = kTerminal;
  own.open_stdin = asked.open_stdin;
  own.mounts_count = static_cast<pb_size_t>(mounts.size());
  own.mounts = mounts.data();
  return Translation{kContainer, "Create", rpc::encode(own), std::make_unique<Created>()};
}

Result<Translation> start(ConstBytes payload) {
  auto request = Message<sluice_legacy_v1_StartContainerRequest>::parse(payload);
  if (!request) return request.status();
  return Translation{kContainer, "Start", container_named((*request)->id),
                     std::make_unique<Done>()};
}

Result<Translation> stop(ConstBytes payload) {
  auto request = Message<sluice_legacy_v1_StopContainerRequest>::parse(payload);
  if (!request) return request.status();
  sluice_agent_v1_StopContainerRequest own{};
  own.container = (*request)->id;
  own.timeout_ns = (*request)->timeout == 0 ? -1 : std::int64_t{(*request)->timeout} * kNsPerSecond;
  return Translation{kContainer, "Stop", rpc::encode(own), std::make_unique<Done>()};
}

Result<Translation> remove(ConstBytes payload) {
  auto request = Message<sluice_legacy_v1_RemoveContainerRequest>::parse(payload);
  if (!request) return request.status();
  sluice_agent_v1_RemoveContainerRequest own{};
  own.container = (*request)->id;
  own.force = (*request)->force;
  return Translation{kContainer, "Remove", rpc::encode(own), std::make_unique<Done>()};
}

Result<Translation> kill(ConstBytes payload) {
  auto request = Message<sluice_legacy_v1_KillContainerRequest>::parse(payload);
  if (!request) return request.status();
  sluice_agent_v1_KillContainerRequest own{};
  own.container = (*request)->id;
  own.signal = (*request)->signal;
  return Translation{kContainer, "Kill", rpc::encode(own), std::make_unique<Done>()};
}

Result<Translation> pause(ConstBytes payload, std::string_view method) {
  auto request = Message<sluice_legacy_v1_PauseContainerRequest>::parse(payload);
  if (!request) return request.status();
  return Translation{kContainer, method, container_named((*request)->id), std::make_unique<Done>()};
}

Result<Translation> list(ConstBytes payload) {
  auto request = Message<sluice_legacy_v1_ListContainersRequest>::parse(payload);
  if (!request) return request.status();
  sluice_agent_v1_ListContainersRequest own{};
  own.all = (*request)->all;
  return Translation{kContainer, "List", rpc::encode(own), std::make_unique<Listed>()};
}

Result<Translation> exec(ConstBytes payload) {
  auto request = Message<sluice_legacy_v1_ExecRequest>::parse(payload);
  if (!request) return request.status();
  const auto& asked = **request;
  std::vector<sluice_agent_v1_ExecStart_EnvEntry> env;
  for (pb_size_t i = 0; i < asked.env_count; ++i) {
    env.push_back({.key = asked.env[i].key, .value = asked.env[i].value});
  }
  bool in_container = !text(asked.container_id).empty();
  sluice_agent_v1_ExecRequest own{};
  own.which_message = sluice_agent_v1_ExecRequest_start_tag;
  own.message.start = {.args_count = asked.cmd_count,
                       .args = asked.cmd,
                       .env_count = static_cast<pb_size_t>(env.size()),
                       .env = env.data(),
                       .cwd = asked.working_dir,
                       .user = asked.user,
                       .has_terminal = asked.tty,
                       .terminal = kTerminal,
                       // With a terminal there is an input, that nobody types into.
                       .no_stdin = !asked.tty,
                       .container = in_container ? asked.container_id : nullptr};
  return Translation{in_container ? kContainer : kProcess, "Exec", rpc::encode(own),
                     std::make_unique<ExecAnswers>()};
}

Result<Translation> logs(ConstBytes payload) {
  auto request = Message<sluice_legacy_v1_LogsRequest>::parse(payload);
  if (!request) return request.status();
  const auto& asked = **request;
  auto to_ns = [](std::int64_t seconds) {
    return std::clamp(seconds, std::int64_t{0}, INT64_MAX / kNsPerSecond) * kNsPerSecond;
  };
  bool neither = !asked.stdout && !asked.stderr;
  sluice_agent_v1_LogsRequest own{};
  own.which_message = sluice_agent_v1_LogsRequest_start_tag;
  own.message.start = {.container = asked.container_id,
                       .follow = asked.follow,
                       .tail = asked.tail > 0 ? static_cast<std::uint64_t>(asked.tail) : 0,
                       .since_ns = to_ns(asked.since),
                       .until_ns = to_ns(asked.until),
                       .no_stdout = !asked.stdout && !neither,
                       .no_stderr = !asked.stderr && !neither};
  return Translation{
      kContainer, "Logs", rpc::encode(own),
      std::make_unique<LogsAnswers>(asked.timestamps ? LogTimes::on : LogTimes::off)};
}

}  // namespace

std::size_t Answers::on_message(ConstBytes, std::vector<std::uint8_t>&) {
  return 0;
}
void Answers::on_reply(ConstBytes, std::vector<std::uint8_t>&) {}
void Answers::on_finish(std::vector<std::uint8_t>&) {}
std::vector<std::uint8_t> Answers::grant(std::size_t) const {
  return {};
}

Result<Translation> translate(std::uint32_t type, ConstBytes payload) {
  switch (static_cast<Type>(type)) {
    case Type::ping:
      return ping(payload);
    case Type::system_info:
      return Translation{kAgent, "SystemInfo", {}, std::make_unique<System>()};
    case Type::create:
      return create(payload);
    case Type::start:
      return start(payload);
    case Type::stop:
      return stop(payload);
    case Type::remove:
      return remove(payload);
    case Type::list:
      return list(payload);
    case Type::kill:
      return kill(payload);
    case Type::pause:
      return pause(payload, "Pause");
    case Type::unpause:
      return pause(payload, "Resume");
    case Type::exec:
      return exec(payload);
    case Type::logs:
      return logs(payload);
    default:
      return Status(StatusCode::unsupported,
                    fmt::format("requests of type 0x{:04X} are not served", type));
  }
}

std::int32_t error_code(rpc::Code code) {
  constexpr std::int32_t kBad = 400;
  constexpr std::int32_t kNotFound = 404;
  constexpr std::int32_t kFailed = 500;
  constexpr std::int32_t kUnavailable = 503;
  switch (code) {
    case rpc::Code::invalid_argument:
    case rpc::Code::already_exists:
    case rpc::Code::failed_precondition:
    case rpc::Code::unimplemented:
    case rpc::Code::out_of_range:
      return kBad;
    case rpc::Code::not_found:
      return kNotFound;
    case rpc::Code::unavailable:
    case rpc::Code::resource_exhausted:
      return kUnavailable;
    default:
      return kFailed;
  }
}

}  // namespace sluice::agent::legacy
