#include "agent/os/process_stat.h"

#include <unistd.h>

#include "agent/os/clock.h"
#include "agent/os/text.h"
#include "base/number.h"

namespace sluice::agent {

std::optional<ProcessStat> parse_process_stat(std::string_view text) {
  // proc(5): field 3 is the first behind the name's bracket; 9 is flags, 14 utime, 15 stime.
  constexpr int kFlags = 9, kUserTime = 14, kSystemTime = 15;
  auto end = text.rfind(") ");
  if (end == std::string_view::npos || end + 2 == text.size()) return std::nullopt;
  text.remove_prefix(end + 2);
  ProcessStat stat;
  stat.state = text.front();
  take_part(text, ' ');
  std::uint64_t ticks = 0;
  for (int field = 4; field <= kSystemTime; ++field) {
    std::string_view word = take_part(text, ' ');
    if (field != kFlags && field < kUserTime) continue;
    auto number = parse_number<std::uint64_t>(word);
    if (!number) return std::nullopt;
    (field == kFlags ? stat.flags : ticks) += *number;
  }
  stat.cpu_ns = ticks * (static_cast<std::uint64_t>(kNsPerSecond) /
                         static_cast<std::uint64_t>(::sysconf(_SC_CLK_TCK)));
  return stat;
}

}  // namespace sluice::agent
