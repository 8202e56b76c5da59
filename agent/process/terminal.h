#pragma once

#include <net/status.h>

#include <cstdint>

#include "base/unique_fd.h"

namespace sluice::agent {

struct TerminalSize {
  std::uint16_t rows = 24;
  std::uint16_t columns = 80;
};

/// A pseudo-terminal: the program's end, and ours.
struct Terminal {
  UniqueFd master;  ///< Non-blocking, close-on-exec.
  UniqueFd slave;
};

/// unsupported: there is no /dev/ptmx here.
Result<Terminal> open_terminal(TerminalSize size);
void resize_terminal(int master, TerminalSize size);
/// What ends the input of whoever reads lines from it.
char end_of_file_key(int master);

}  // namespace sluice::agent
