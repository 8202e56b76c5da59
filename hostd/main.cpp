#include "hostd/options.h"
#include "hostd/run.h"

int main(int argc, char** argv) {
  sluice::hostd::CommandLine command = sluice::hostd::parse_command_line(argc, argv);
  if (!command.run) return command.exit_status;
  return sluice::hostd::run(std::move(*command.run));
}
