#include "agent/services/local_launcher.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <map>

#include "agent/process/identity.h"
#include "agent/rpc/message.h"

namespace sluice::agent {

namespace {

using rpc::CallError;
using rpc::text;

constexpr std::uint32_t kMaxTerminalSide = 0xFFFF;

std::vector<std::string> environment_of(const sluice_agent_v1_ExecStart& start,
                                        const Identity& identity) {
  std::map<std::string, std::string> variables{
      {"PATH", kUsualPath}, {"HOME", identity.home}, {"USER", identity.name}};
  if (start.has_terminal) variables["TERM"] = "xterm";
  for (pb_size_t i = 0; i < start.env_count; ++i) {
    variables[std::string(text(start.env[i].key))] = text(start.env[i].value);
  }
  std::vector<std::string> environment;
  for (const auto& [name, value] : variables)
    environment.push_back(fmt::format("{}={}", name, value));
  return environment;
}

std::string_view value_of(const std::vector<std::string>& environment, std::string_view name) {
  for (const std::string& one : environment) {
    if (one.starts_with(name) && one.size() > name.size() && one[name.size()] == '=') {
      return std::string_view(one).substr(name.size() + 1);
    }
  }
  return {};
}

bool is_directory(const std::string& path) {
  struct stat found{};
  return ::stat(path.c_str(), &found) == 0 && S_ISDIR(found.st_mode);
}

Result<SpawnPlan> plan_of(const sluice_agent_v1_ExecStart& start, CallError& error) {
  SpawnPlan plan;
  for (pb_size_t i = 0; i < start.args_count; ++i) plan.args.emplace_back(text(start.args[i]));
  if (plan.args.empty() || plan.args[0].empty()) {
    return Status(StatusCode::invalid_argument, "args: the program to run is missing");
  }
  auto identity = find_identity("", text(start.user));
  if (!identity) return identity.status();
  if (Status status = check_env_names(start); !status) return status;
  plan.identity = std::move(*identity);
  plan.env = environment_of(start, plan.identity);
  plan.cwd = text(start.cwd);
  if (plan.cwd.empty()) plan.cwd = is_directory(plan.identity.home) ? plan.identity.home : "/";
  int missing = 0;
  plan.program = find_program(plan.args[0], value_of(plan.env, "PATH"), plan.cwd, missing);
  if (missing != 0) {
    error = CallError::from_errno(missing, "execve " + plan.args[0]);
    return Status(StatusCode::not_found, error.message);
  }
  return plan;
}

}  // namespace

TerminalSize terminal_size_of(const sluice_agent_v1_TerminalSize& size) {
  auto side = [](std::uint32_t value, std::uint16_t usual) {
    return value == 0 ? usual : static_cast<std::uint16_t>(std::min(value, kMaxTerminalSide));
  };
  return {.rows = side(size.rows, TerminalSize().rows),
          .columns = side(size.columns, TerminalSize().columns)};
}

Status check_env_names(const sluice_agent_v1_ExecStart& start) {
  for (pb_size_t i = 0; i < start.env_count; ++i) {
    std::string_view name = text(start.env[i].key);
    if (name.empty() || name.find('=') != std::string_view::npos) {
      return Status(StatusCode::invalid_argument,
                    fmt::format("env: '{}' is no variable's name", name));
    }
  }
  return Status::ok();
}

std::optional<CallError> LocalLauncher::prepare(const sluice_agent_v1_ExecStart& start) {
  if (!text(start.container).empty()) {
    return CallError{.code = rpc::Code::invalid_argument,
                     .message = "container: Process.Exec is for the VM; Container.Exec is for it"};
  }
  CallError error;
  auto plan = plan_of(start, error);
  if (!plan) return error.error != 0 ? error : CallError::of(plan.status());
  plan_ = std::move(*plan);
  return std::nullopt;
}

void LocalLauncher::launch(const Streams& streams, Done done) {
  plan_.stdio = streams.stdio;
  plan_.controlling_terminal = streams.terminal.has_value();
  Spawned spawned = spawn(plan_);
  if (spawned.pid < 0) {
    done({.error = CallError::from_errno(spawned.error, spawned.step)});
  } else {
    done({.error = std::nullopt, .pid = spawned.pid, .terminal = {}});
  }
}

}  // namespace sluice::agent
