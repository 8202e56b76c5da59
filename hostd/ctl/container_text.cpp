#include "hostd/ctl/container_text.h"

#include <fmt/format.h>

#include <array>
#include <ctime>

namespace sluice::ctl {

using agent::client::ContainerDetails;
using agent::client::ContainerExit;
using agent::client::ContainerInfo;
using agent::client::ContainerMount;
using agent::client::ContainerStats;
using nlohmann::json;

json json_of(const ContainerExit& exit) {
  return {{"code", exit.code},
          {"signal", exit.signal},
          {"oom", exit.oom},
          {"exited_at_ns", exit.at_ns},
          {"error", exit.error}};
}

json json_of(const ContainerInfo& info) {
  return {{"id", info.id},
          {"name", info.name},
          {"image", info.image},
          {"args", info.args},
          {"state", info.state},
          {"pid", info.pid},
          {"created_at_ns", info.created_at_ns},
          {"started_at_ns", info.started_at_ns},
          {"exit", info.exit ? json_of(*info.exit) : json(nullptr)},
          {"restarts", info.restarts},
          {"labels", info.labels},
          {"addresses", info.addresses}};
}

json json_of(const ContainerDetails& details) {
  constexpr std::array<const char*, 3> kKinds{"bind", "tmpfs", "virtiofs"};
  json mounts = json::array();
  for (const ContainerMount& mount : details.mounts) {
    mounts.push_back({{"kind", kKinds[static_cast<std::size_t>(mount.kind) % kKinds.size()]},
                      {"source", mount.source},
                      {"target", mount.target},
                      {"read_only", mount.read_only},
                      {"size", mount.size}});
  }
  json all = json_of(details.info);
  all.update({{"cwd", details.cwd},
              {"user", details.user},
              {"hostname", details.hostname},
              {"network", details.network},
              {"rootfs", details.rootfs},
              {"log_directory", details.log_directory},
              {"env", details.env},
              {"mounts", std::move(mounts)},
              {"limits",
               {{"memory", details.limits.memory},
                {"cpu_millis", details.limits.cpu_millis},
                {"pids", details.limits.pids}}},
              {"terminal", details.terminal},
              {"read_only", details.read_only}});
  return all;
}

json json_of(const ContainerStats& stats) {
  return {{"cpu_ns", stats.cpu_ns},
          {"memory", stats.memory},
          {"memory_limit", stats.memory_limit},
          {"pids", stats.pids},
          {"read_bytes", stats.read_bytes},
          {"written_bytes", stats.written_bytes},
          {"sent_bytes", stats.sent_bytes},
          {"received_bytes", stats.received_bytes}};
}

std::string state_text(const ContainerInfo& info) {
  if (!info.exit || info.state == "running" || info.state == "paused") return info.state;
  return fmt::format("{} ({}{})", info.state, info.exit->code,
                     info.exit->oom ? ", out of memory" : "");
}

std::string time_text(std::int64_t ns) {
  constexpr std::int64_t kSecond = 1'000'000'000;
  std::time_t seconds = ns / kSecond;
  tm parts{};
  ::gmtime_r(&seconds, &parts);
  std::array<char, 32> text{};
  std::size_t size = std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%S", &parts);
  return fmt::format("{}.{:09}Z", std::string_view(text.data(), size), ns % kSecond);
}

}  // namespace sluice::ctl
