#pragma once

#include <net/status.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/client/containers.h"

namespace sluice::ctl {

/// What `guest run` is told, as it was typed.
struct RunAsked {
  std::vector<std::string> words;  ///< IMAGE COMMAND..., or COMMAND... where there is a rootfs.
  std::string rootfs;
  std::string name;
  std::vector<std::string> env;      ///< NAME=value, or NAME for hostctl's own.
  std::vector<std::string> volumes;  ///< SOURCE:TARGET[:ro]
  std::vector<std::string> tmpfs;    ///< TARGET
  std::vector<std::string> labels;   ///< NAME=value
  std::vector<std::string> add_capabilities;
  std::vector<std::string> drop_capabilities;
  std::string memory;  ///< "512M"
  double cpus = 0;     ///< 0: no limit.
  std::uint64_t pids = 0;
  std::string cwd;
  std::string user;
  std::string hostname;
  std::string entrypoint;
  std::string network;
  std::string restart;  ///< no, always, on-failure[:N]
  bool interactive = false;
  bool terminal = false;
  bool detach = false;
  bool remove = false;
  std::string log_driver;  ///< "json-file": as docker writes it.
  bool read_only = false;
  bool no_new_privileges = false;
  bool all_devices = false;
};

/// invalid_argument says which option is wrong. The terminal's size is not in it.
Result<agent::client::ContainerSpec> spec_of(const RunAsked& asked);

/// "17", "512k", "1.5G": bytes. Nothing where it is none.
std::optional<std::uint64_t> parse_size(std::string_view text);

/// When a log is to begin: "10m" (before `now_ns`; s, m, h, d), seconds since the epoch, or
/// "2026-01-31T10:00:00Z". In nanoseconds since the epoch.
std::optional<std::int64_t> parse_moment(std::string_view text, std::int64_t now_ns);

/// NAME=value of each, or NAME with this process's own value where it has one.
std::map<std::string, std::string> env_of(const std::vector<std::string>& list);

}  // namespace sluice::ctl
