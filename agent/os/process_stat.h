#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace sluice::agent {

/// What /proc/PID/stat tells.
struct ProcessStat {
  char state = 0;            ///< 'R', 'S', 'Z', ...
  std::uint64_t flags = 0;   ///< The kernel's PF_* flags.
  std::uint64_t cpu_ns = 0;  ///< Of all its threads; not of its children.
};

/// Nothing where `text` is none: the process went meanwhile. Its name, which may have anything in
/// it, is passed over.
std::optional<ProcessStat> parse_process_stat(std::string_view text);

}  // namespace sluice::agent
