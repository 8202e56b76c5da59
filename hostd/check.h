#pragma once

#include "hostd/config/options.h"

namespace sluice::hostd {

/// Prints what the options come to: the policy in effect, and the settings that differ from the
/// defaults. Nothing is started. Returns the exit status: 2 with the reason where they can't be
/// used.
int check(const Options& options);

}  // namespace sluice::hostd
