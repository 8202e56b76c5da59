#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <functional>
#include <string_view>
#include <utility>

namespace sluice {

enum class LogLevel : std::uint8_t {
  error,
  warn,
  notice,  ///< What every operator wants to see once: ready, with which ports and which policy.
  info,
  debug,
};

/// Where log lines go. Set once before any thread starts; the default drops everything. The sink is
/// called from the loop's thread and from whoever starts and stops a Network.
using LogSink = std::function<void(LogLevel, std::string_view line)>;

void set_log_sink(LogSink sink, LogLevel most_detailed);
bool log_enabled(LogLevel level);
void log_line(LogLevel level, std::string_view line);

template <typename... Args>
void log(LogLevel level, fmt::format_string<Args...> format, Args&&... args) {
  if (log_enabled(level)) log_line(level, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace sluice
