#pragma once

#include <net/status.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace sluice::agent {

/// How a container's run ended.
struct ContainerExit {
  int code = 0;    ///< Its own, or 128 + signal.
  int signal = 0;  ///< 0: it ended by itself.
  bool oom = false;
  std::int64_t at_ns = 0;
  std::string error;     ///< Why it could not be run.
  int error_number = 0;  ///< errno of that.
  bool lost = false;     ///< Nobody saw it.
};

/// What a shim writes of its container, for whoever comes to ask.
struct ContainerStatus {
  int pid = 0;       ///< Of the first process; 0 before there is one.
  int shim_pid = 0;  ///< Who writes it.
  bool started = false;
  std::int64_t started_at_ns = 0;
  std::optional<ContainerExit> exit;
};

/// One line of JSON. invalid_argument: no such text.
std::string to_json(const ContainerStatus& status);
Result<ContainerStatus> parse_status(std::string_view text);

}  // namespace sluice::agent
