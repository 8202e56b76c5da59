#pragma once

#include <string>
#include <vector>

#include "agent/client/network.h"
#include "hostd/ctl/guest_commands.h"

namespace sluice::ctl {

/// `guest dns`, `ports`, `events`, `metrics` and `tunnel`. Each prints and returns the exit status.
class GuestNetworkCommands {
 public:
  explicit GuestNetworkCommands(GuestCommands& guest) : guest_(guest) {}

  int dns();
  int add_names(const agent::client::Names& names);
  int remove_names(const std::string& owner, const std::string& network);
  /// `follow`: then goes on with what comes and goes.
  int ports(bool follow, const std::vector<std::string>& namespaces);
  /// Until it is ended.
  int events();
  int metrics();
  /// "PORT", "HOST:PORT" or "/PATH": our standard input and output are the connection.
  int tunnel(const std::string& to);

 private:
  GuestCommands& guest_;
};

}  // namespace sluice::ctl
