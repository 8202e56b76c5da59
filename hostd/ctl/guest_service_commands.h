#pragma once

#include <string>

#include "hostd/ctl/guest_commands.h"

namespace sluice::ctl {

/// `guest services`, `guest service logs` and `guest top`. Each prints and returns the exit status.
class GuestServiceCommands {
 public:
  explicit GuestServiceCommands(GuestCommands& guest) : guest_(guest) {}

  int services();
  /// What it has written, as it is.
  int logs(const std::string& name);
  int top(const std::string& container);

 private:
  GuestCommands& guest_;
};

}  // namespace sluice::ctl
