#pragma once

#include "hostd/config/configuration.h"
#include "hostd/config/options.h"

namespace sluice::hostd {

/// Gives one guest its network until SIGTERM, SIGINT or, with --one-off, until its end goes; SIGHUP
/// has the config file read again. `options` are what `configuration` has been loaded to. Returns
/// the exit status.
int run(Options options, Configuration configuration);

}  // namespace sluice::hostd
