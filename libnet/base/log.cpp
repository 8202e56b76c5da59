#include "base/log.h"

namespace sluice {

namespace {
LogSink sink;
LogLevel detail = LogLevel::error;
}  // namespace

void set_log_sink(LogSink new_sink, LogLevel most_detailed) {
  sink = std::move(new_sink);
  detail = most_detailed;
}

bool log_enabled(LogLevel level) {
  return sink && level <= detail;
}

void log_line(LogLevel level, std::string_view line) {
  if (log_enabled(level)) sink(level, line);
}

}  // namespace sluice
