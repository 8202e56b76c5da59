#include "hostd/logging.h"

#include <fmt/format.h>
#include <unistd.h>

#include "base/log.h"

namespace sluice::hostd {

void set_up_logging(int verbosity) {
  LogLevel detail = verbosity == 0   ? LogLevel::notice
                    : verbosity == 1 ? LogLevel::info
                                     : LogLevel::debug;
  set_log_sink(
      [](LogLevel, std::string_view line) {
        std::string text = fmt::format("hostd: {}\n", line);
        // Nothing can be said about a log that can't be written.
        static_cast<void>(!::write(STDERR_FILENO, text.data(), text.size()));
      },
      detail);
}

}  // namespace sluice::hostd
