#pragma once

#include "hostd/config/options.h"

namespace sluice::hostd {

/// Gives one guest its network until SIGTERM, SIGINT or, with --one-off, until its end goes.
/// Returns the exit status.
int run(Options options);

}  // namespace sluice::hostd
