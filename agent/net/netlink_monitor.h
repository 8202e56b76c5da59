#pragma once

#include <functional>
#include <memory>

#include <net/status.h>

#include "agent/net/netlink_types.h"
#include "base/loop.h"
#include "base/unique_fd.h"

namespace sluice::agent {

/// Tells of changes to links, addresses, routes and advertised resolvers in the network namespace
/// of the thread that opened it, in the kernel's order. Loop thread only.
///
/// What has changed before open() is not told: list it afterwards. ChangesLost says that some were
/// not read in time and everything should be listed again.
class NetlinkMonitor {
 public:
  /// May be called many times a turn. It may destroy the monitor.
  using OnChange = std::function<void(const NetworkChange&)>;

  /// `loop` must outlive the object. Needs no privileges.
  static Result<std::unique_ptr<NetlinkMonitor>> open(Loop& loop, OnChange on_change);

 private:
  NetlinkMonitor(UniqueFd fd, OnChange on_change)
      : fd_(std::move(fd)), on_change_(std::move(on_change)) {}

  void on_readable();

  UniqueFd fd_;
  OnChange on_change_;
  std::unique_ptr<FdWatch> watch_;
  /// Gone when the object is: a callback may destroy it.
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace sluice::agent
