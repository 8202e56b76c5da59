#include "hostd/check.h"
#include "hostd/config/command_line.h"
#include "hostd/run.h"

int main(int argc, char** argv) {
  sluice::hostd::CommandLine command = sluice::hostd::parse_command_line(argc, argv);
  if (!command.options) return command.exit_status;
  if (command.command == sluice::hostd::CommandLine::Command::check) {
    return sluice::hostd::check(*command.options);
  }
  return sluice::hostd::run(std::move(*command.options), std::move(command.configuration));
}
