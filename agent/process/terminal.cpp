#include "agent/process/terminal.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <termios.h>

#include <cerrno>

namespace sluice::agent {

namespace {

constexpr char kControlD = 4;

}  // namespace

Result<Terminal> open_terminal(TerminalSize size) {
  Terminal terminal;
  terminal.master.reset(::open("/dev/ptmx", O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOCTTY));
  if (!terminal.master) return Status::from_errno(errno, "open /dev/ptmx");
  int locked = 0;
  if (::ioctl(terminal.master.get(), TIOCSPTLCK, &locked) != 0) {
    return Status::from_errno(errno, "unlock the pseudo-terminal");
  }
  // By descriptor, not by name: /dev/pts may be another mount than the one that /dev/ptmx is of.
  terminal.slave.reset(::ioctl(terminal.master.get(), TIOCGPTPEER, O_RDWR | O_CLOEXEC | O_NOCTTY));
  if (!terminal.slave) return Status::from_errno(errno, "open the pseudo-terminal's peer");
  resize_terminal(terminal.master.get(), size);
  return terminal;
}

void resize_terminal(int master, TerminalSize size) {
  winsize window{.ws_row = size.rows, .ws_col = size.columns, .ws_xpixel = 0, .ws_ypixel = 0};
  ::ioctl(master, TIOCSWINSZ, &window);
}

char end_of_file_key(int master) {
  termios settings{};
  if (::tcgetattr(master, &settings) != 0) return kControlD;
  return static_cast<char>(settings.c_cc[VEOF]);
}

}  // namespace sluice::agent
