#include "agent/container/spec.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstring>

#include "base/number.h"

namespace sluice::agent {

namespace {

constexpr std::size_t kMaxName = 128;
constexpr int kLastSignal = 64;

struct Capability {
  std::string_view name;
  bool usual;
};

/// Of linux/capability.h, in its order. The usual ones are those that container tools agree on.
constexpr auto kCapabilities = std::to_array<Capability>({{"CHOWN", true},
                                                          {"DAC_OVERRIDE", true},
                                                          {"DAC_READ_SEARCH", false},
                                                          {"FOWNER", true},
                                                          {"FSETID", true},
                                                          {"KILL", true},
                                                          {"SETGID", true},
                                                          {"SETUID", true},
                                                          {"SETPCAP", true},
                                                          {"LINUX_IMMUTABLE", false},
                                                          {"NET_BIND_SERVICE", true},
                                                          {"NET_BROADCAST", false},
                                                          {"NET_ADMIN", false},
                                                          {"NET_RAW", true},
                                                          {"IPC_LOCK", false},
                                                          {"IPC_OWNER", false},
                                                          {"SYS_MODULE", false},
                                                          {"SYS_RAWIO", false},
                                                          {"SYS_CHROOT", true},
                                                          {"SYS_PTRACE", false},
                                                          {"SYS_PACCT", false},
                                                          {"SYS_ADMIN", false},
                                                          {"SYS_BOOT", false},
                                                          {"SYS_NICE", false},
                                                          {"SYS_RESOURCE", false},
                                                          {"SYS_TIME", false},
                                                          {"SYS_TTY_CONFIG", false},
                                                          {"MKNOD", true},
                                                          {"LEASE", false},
                                                          {"AUDIT_WRITE", true},
                                                          {"AUDIT_CONTROL", false},
                                                          {"SETFCAP", true},
                                                          {"MAC_OVERRIDE", false},
                                                          {"MAC_ADMIN", false},
                                                          {"SYSLOG", false},
                                                          {"WAKE_ALARM", false},
                                                          {"BLOCK_SUSPEND", false},
                                                          {"AUDIT_READ", false},
                                                          {"PERFMON", false},
                                                          {"BPF", false},
                                                          {"CHECKPOINT_RESTORE", false}});

std::string upper(std::string_view text) {
  std::string result(text);
  for (char& c : result) {
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  }
  return result;
}

/// Without "CAP_".
Result<std::string> capability_name(std::string_view text) {
  std::string name = upper(text);
  if (name.starts_with("CAP_")) name.erase(0, 4);
  bool known =
      name == "ALL" || std::any_of(kCapabilities.begin(), kCapabilities.end(),
                                   [&](const Capability& one) { return one.name == name; });
  if (known) return name;
  return Status(StatusCode::invalid_argument, fmt::format("'{}' is no capability", text));
}

bool is_alphanumeric(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

}  // namespace

const char* to_string(ContainerNetwork network) {
  switch (network) {
    case ContainerNetwork::bridge:
      return "bridge";
    case ContainerNetwork::host:
      return "host";
    case ContainerNetwork::none:
      break;
  }
  return "none";
}

std::optional<ContainerNetwork> parse_network(std::string_view text) {
  for (auto one : {ContainerNetwork::bridge, ContainerNetwork::host, ContainerNetwork::none}) {
    if (text == to_string(one)) return one;
  }
  return std::nullopt;
}

Result<std::vector<std::string>> capabilities_of(const std::vector<std::string>& add,
                                                 const std::vector<std::string>& drop) {
  std::array<bool, kCapabilities.size()> has{};
  for (std::size_t i = 0; i < has.size(); ++i) has[i] = kCapabilities[i].usual;
  auto set = [&has](const std::vector<std::string>& names, bool value) {
    // "ALL" first, so that the others of the list count beside it.
    for (bool all : {true, false}) {
      for (const std::string& text : names) {
        auto name = capability_name(text);
        if (!name) return name.status();
        for (std::size_t i = 0; i < has.size(); ++i) {
          if (all ? *name == "ALL" : kCapabilities[i].name == *name) has[i] = value;
        }
      }
    }
    return Status::ok();
  };
  auto has_all = [](const std::vector<std::string>& names) {
    return std::any_of(names.begin(), names.end(), [](const std::string& text) {
      auto name = capability_name(text);
      return name && *name == "ALL";
    });
  };
  // Of "drop ALL, add X" X stays, and of "add ALL, drop X" X goes.
  bool drop_first = has_all(drop);
  if (Status status = set(drop_first ? drop : add, !drop_first); !status) return status;
  if (Status status = set(drop_first ? add : drop, drop_first); !status) return status;
  std::vector<std::string> result;
  for (std::size_t i = 0; i < has.size(); ++i) {
    if (has[i]) result.push_back(fmt::format("CAP_{}", kCapabilities[i].name));
  }
  return result;
}

std::optional<int> parse_signal(std::string_view text) {
  if (auto number = parse_number<int>(text)) {
    if (*number < 1 || *number > kLastSignal) return std::nullopt;
    return number;
  }
  std::string name = upper(text);
  if (name.starts_with("SIG")) name.erase(0, 3);
  for (int signal = 1; signal < SIGRTMIN; ++signal) {
    const char* known = ::sigabbrev_np(signal);
    if (known && name == known) return signal;
  }
  if (name.starts_with("RTMIN+")) {
    auto more = parse_number<int>(std::string_view(name).substr(6));
    if (more && *more >= 0 && *more <= SIGRTMAX - SIGRTMIN) return SIGRTMIN + *more;
  }
  return std::nullopt;
}

bool is_container_name(std::string_view name) {
  return !name.empty() && name.size() <= kMaxName && is_alphanumeric(name[0]) &&
         std::all_of(name.begin(), name.end(),
                     [](char c) { return is_alphanumeric(c) || c == '_' || c == '.' || c == '-'; });
}

}  // namespace sluice::agent
