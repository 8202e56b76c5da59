#pragma once

#include <optional>

#include "hostd/config/options.h"

namespace sluice::hostd {

/// What the command line said: a thing to do, or an exit status after help or an error was printed.
struct CommandLine {
  enum class Command { run, check };
  std::optional<Options> options;
  Command command = Command::run;
  int exit_status = 0;
};

/// Parses the command line and the config file that it names. A scalar of the command line counts
/// before the file's; lists of both add up, the command line's first. Errors go to standard error:
/// the flag or the line, the value and the fix.
CommandLine parse_command_line(int argc, char** argv);

}  // namespace sluice::hostd
