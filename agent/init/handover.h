#pragma once

#include <string>

#include "agent/init/boot_report.h"

namespace sluice::agent {

/// Who a process is after hand_over().
enum class AfterHandover : std::uint8_t {
  init,       ///< Still PID 1, as the other could not be started: the step says why.
  companion,  ///< Its child; PID 1 is the other init now.
};

/// Makes `init` PID 1 in our place: forks, lets the child prepare the guest as `prepare` does, and
/// becomes `init`, so that it begins in a guest that is prepared. The child returns, in a session
/// of its own, once that has happened; where it can't, PID 1 returns and the child is gone.
AfterHandover hand_over(BootReport& boot, const std::string& init, void (*prepare)(BootReport&));

}  // namespace sluice::agent
