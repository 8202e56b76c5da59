#pragma once

#include <optional>

#include "hostd/config/configuration.h"
#include "hostd/config/options.h"

namespace sluice::hostd {

/// What the command line said: a thing to do, or an exit status after help or an error was printed.
struct CommandLine {
  enum class Command { run, check };
  Command command = Command::run;
  Configuration configuration;
  std::optional<Options> options;  ///< Of `configuration`; none: `exit_status` it is.
  int exit_status = 0;
};

/// Parses the command line and loads the configuration that it describes. Errors go to standard
/// error: the flag or the line, the value and the fix.
CommandLine parse_command_line(int argc, char** argv);

}  // namespace sluice::hostd
