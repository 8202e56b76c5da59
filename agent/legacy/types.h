#pragma once

#include <cstdint>

namespace sluice::agent::legacy {

/// Types of the older framing that have had one meaning only. Others (0x0022 and up) meant
/// different things in different versions, and are not served.
enum class Type : std::uint32_t {
  empty = 0x0000,  ///< Done; the end of a log.
  ping = 0x0001,
  system_info = 0x0002,
  create = 0x0010,
  start = 0x0011,
  stop = 0x0012,
  remove = 0x0013,
  list = 0x0014,
  kill = 0x0015,
  pause = 0x0017,
  unpause = 0x0018,
  exec = 0x0020,
  logs = 0x0021,
  pong = 0x1001,
  system_info_answer = 0x1002,
  created = 0x1010,
  list_answer = 0x1014,
  exec_output = 0x1020,
  log_entry = 0x1021,
  error = 0xFFFF,
};

}  // namespace sluice::agent::legacy
