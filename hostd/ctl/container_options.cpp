#include "hostd/ctl/container_options.h"

#include <fmt/format.h>

#include <cmath>
#include <cstdlib>
#include <ctime>

#include "base/number.h"

namespace sluice::ctl {

namespace {

using agent::client::ContainerMount;
using agent::client::ContainerSpec;
using agent::client::Restart;

/// A number with a fraction, and nothing besides.
std::optional<double> parse_decimal(std::string_view text) {
  std::string copy(text);
  char* end = nullptr;
  double value = std::strtod(copy.c_str(), &end);
  if (copy.empty() || *end != '\0' || !std::isfinite(value) || value < 0) return std::nullopt;
  return value;
}

Result<ContainerMount> mount_of(std::string_view text) {
  auto colon = text.find(':');
  if (colon == std::string_view::npos) {
    return Status::invalid_argument(fmt::format("-v {}: SOURCE:TARGET[:ro] is needed", text));
  }
  ContainerMount mount{.source = std::string(text.substr(0, colon)), .target = {}};
  std::string_view target = text.substr(colon + 1);
  if (target.ends_with(":ro")) {
    mount.read_only = true;
    target.remove_suffix(3);
  } else if (target.ends_with(":rw")) {
    target.remove_suffix(3);
  }
  mount.target = target;
  return mount;
}

Status take_restart(std::string_view text, ContainerSpec& spec) {
  std::string_view kind = text.substr(0, text.find(':'));
  if (kind == "always" && kind.size() == text.size()) {
    spec.restart = Restart::always;
  } else if (kind == "on-failure") {
    spec.restart = Restart::on_failure;
    if (kind.size() == text.size()) return Status::ok();
    auto most = parse_number<std::uint32_t>(text.substr(kind.size() + 1));
    if (!most || *most == 0)
      return Status::invalid_argument(fmt::format("--restart {}: no number of times", text));
    spec.most_restarts = *most;
  } else if (!text.empty() && text != "no") {
    return Status::invalid_argument(
        fmt::format("--restart {}: no, always or on-failure[:N]", text));
  }
  return Status::ok();
}

}  // namespace

std::optional<std::uint64_t> parse_size(std::string_view text) {
  double unit = 1;
  if (!text.empty()) {
    constexpr std::string_view kUnits = "bkmgt";
    char last = static_cast<char>(text.back() | 0x20);
    if (auto at = kUnits.find(last); at != std::string_view::npos) {
      unit = std::pow(1024.0, static_cast<double>(at));
      text.remove_suffix(1);
    }
  }
  auto number = parse_decimal(text);
  constexpr double kMost = 9e18;
  if (!number || *number * unit > kMost) return std::nullopt;
  return static_cast<std::uint64_t>(*number * unit);
}

std::optional<std::int64_t> parse_moment(std::string_view text, std::int64_t now_ns) {
  constexpr std::int64_t kSecond = 1'000'000'000;
  constexpr double kMostSeconds = 4e9;
  tm parts{};
  std::string copy(text);
  const char* end = ::strptime(copy.c_str(), "%Y-%m-%dT%H:%M:%SZ", &parts);
  if (end && *end == '\0') return ::timegm(&parts) * kSecond;
  auto in_ns = [](double seconds) { return static_cast<std::int64_t>(seconds * 1e9); };
  double unit = 0;
  switch (text.empty() ? '\0' : text.back()) {
    case 's':
      unit = 1;
      break;
    case 'm':
      unit = 60;
      break;
    case 'h':
      unit = 3600;
      break;
    case 'd':
      unit = 86400;
      break;
    default:
      break;
  }
  auto number = parse_decimal(unit > 0 ? text.substr(0, text.size() - 1) : text);
  if (!number || *number * std::max(unit, 1.0) > kMostSeconds) return std::nullopt;
  return unit > 0 ? now_ns - in_ns(*number * unit) : in_ns(*number);
}

std::map<std::string, std::string> env_of(const std::vector<std::string>& list) {
  std::map<std::string, std::string> env;
  for (const std::string& one : list) {
    auto equals = one.find('=');
    std::string name = one.substr(0, equals);
    const char* own = equals == std::string::npos ? std::getenv(name.c_str()) : nullptr;
    if (equals != std::string::npos) {
      env[name] = one.substr(equals + 1);
    } else if (own) {
      env[name] = own;
    }
  }
  return env;
}

Result<ContainerSpec> spec_of(const RunAsked& asked) {
  ContainerSpec spec;
  spec.name = asked.name;
  spec.rootfs = asked.rootfs;
  spec.args = asked.words;
  if (spec.rootfs.empty()) {
    if (spec.args.empty())
      return Status::invalid_argument("an IMAGE is needed, or --rootfs DIR and a COMMAND");
    spec.image = spec.args.front();
    spec.args.erase(spec.args.begin());
  }
  spec.env = env_of(asked.env);
  spec.entrypoint = asked.entrypoint;
  spec.cwd = asked.cwd;
  spec.user = asked.user;
  spec.hostname = asked.hostname;
  spec.network = asked.network;
  spec.open_stdin = asked.interactive;
  spec.read_only = asked.read_only;
  spec.no_new_privileges = asked.no_new_privileges;
  spec.all_devices = asked.all_devices;
  spec.auto_remove = asked.remove;
  spec.json_log = asked.log_driver == "json-file";
  spec.add_capabilities = asked.add_capabilities;
  spec.drop_capabilities = asked.drop_capabilities;
  for (const std::string& volume : asked.volumes) {
    auto mount = mount_of(volume);
    if (!mount) return mount.status();
    spec.mounts.push_back(std::move(*mount));
  }
  for (const std::string& target : asked.tmpfs) {
    spec.mounts.push_back({.kind = ContainerMount::Kind::tmpfs, .source = {}, .target = target});
  }
  for (const std::string& label : asked.labels) {
    auto equals = label.find('=');
    spec.labels[label.substr(0, equals)] =
        equals == std::string::npos ? "" : label.substr(equals + 1);
  }
  if (!asked.memory.empty()) {
    auto memory = parse_size(asked.memory);
    if (!memory || *memory == 0)
      return Status::invalid_argument(fmt::format("-m {}: no size (512M)", asked.memory));
    spec.limits.memory = *memory;
  }
  constexpr double kMostCpus = 1000;
  if (asked.cpus < 0 || asked.cpus > kMostCpus)
    return Status::invalid_argument("--cpus: 0.01 to 1000");
  spec.limits.cpu_millis = static_cast<std::uint64_t>(std::lround(asked.cpus * 1000));
  spec.limits.pids = asked.pids;
  if (Status status = take_restart(asked.restart, spec); !status) return status;
  return spec;
}

}  // namespace sluice::ctl
