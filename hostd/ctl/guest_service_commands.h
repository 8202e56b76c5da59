#pragma once

#include <string>

#include "agent/client/services.h"
#include "hostd/ctl/guest_commands.h"

namespace sluice::ctl {

/// `guest services`, `guest service ...` and `guest top`. Each prints and returns the exit status.
class GuestServiceCommands {
 public:
  explicit GuestServiceCommands(GuestCommands& guest) : guest_(guest) {}

  int services();
  /// Says what has come about, of the others too.
  int order(agent::client::ServiceOrder order, const std::string& name);
  /// What it has written, as it is.
  int logs(const std::string& name);
  int top(const std::string& container);

 private:
  GuestCommands& guest_;
};

}  // namespace sluice::ctl
