#include "agent/process/terminal.h"

#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <catch2/catch.hpp>

namespace sluice::agent {

TEST_CASE("a terminal has two ends and the size that was asked for") {
  auto terminal = open_terminal({.rows = 10, .columns = 200});
  REQUIRE(terminal);
  CHECK(::isatty(terminal->slave.get()) == 1);
  winsize size{};
  REQUIRE(::ioctl(terminal->slave.get(), TIOCGWINSZ, &size) == 0);
  CHECK(size.ws_row == 10);
  CHECK(size.ws_col == 200);
  resize_terminal(terminal->master.get(), {.rows = 65535, .columns = 1});
  REQUIRE(::ioctl(terminal->slave.get(), TIOCGWINSZ, &size) == 0);
  CHECK(size.ws_row == 65535);
}

TEST_CASE("the key that ends the input is the one that is set") {
  auto terminal = open_terminal({});
  REQUIRE(terminal);
  CHECK(end_of_file_key(terminal->master.get()) == 4);
  termios settings{};
  REQUIRE(::tcgetattr(terminal->slave.get(), &settings) == 0);
  settings.c_cc[VEOF] = 'q';
  REQUIRE(::tcsetattr(terminal->slave.get(), TCSANOW, &settings) == 0);
  CHECK(end_of_file_key(terminal->master.get()) == 'q');
  CHECK(end_of_file_key(-1) == 4);
}

}  // namespace sluice::agent
