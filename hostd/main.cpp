#include "hostd/check.h"
#include "hostd/config/command_line.h"
#include "hostd/run.h"

#ifdef SLUICE_SELF_CONTAINED
#include <openssl/crypto.h>
#endif

int main(int argc, char** argv) {
#ifdef SLUICE_SELF_CONTAINED
  // The host's openssl.cnf may name modules, which are made for the host's own libraries.
  OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, nullptr);
#endif
  sluice::hostd::CommandLine command = sluice::hostd::parse_command_line(argc, argv);
  if (!command.options) return command.exit_status;
  if (command.command == sluice::hostd::CommandLine::Command::check) {
    return sluice::hostd::check(*command.options);
  }
  return sluice::hostd::run(std::move(*command.options), std::move(command.configuration));
}
