#pragma once

#include <functional>
#include <memory>
#include <vector>

#include <net/address.h>
#include <net/status.h>

#include "base/loop.h"
#include "base/unique_fd.h"

namespace sluice {

/// What the host's routing says at one moment.
struct HostRoutesSnapshot {
  /// Whether packets to the Internet have a way out, by whatever rules and tables the host uses
  /// (VPNs included). A route is no promise that it works.
  bool ipv4_default = false;
  bool ipv6_default = false;
  /// The host's own addresses, loopback included; sorted, each once.
  std::vector<IpAddress> addresses;
  /// The prefixes of its interfaces, the peers of point-to-point links included; sorted, each once.
  std::vector<IpPrefix> on_link;

  friend bool operator==(const HostRoutesSnapshot&, const HostRoutesSnapshot&) = default;
};

/// Follows the host's addresses and default routes by rtnetlink(7), in the network namespace of the
/// thread that opened it. Needs no privileges.
///
/// A notification only says that something changed: everything is then asked for afresh, at most
/// every kSettle. So a lost one (ENOBUFS on a busy router) costs nothing but that. Loop thread
/// only.
class HostRoutes {
 public:
  /// Changes come in bursts: one interface that goes up makes a dozen.
  static constexpr std::chrono::milliseconds kSettle{100};
  /// More addresses than this of a host are not kept.
  static constexpr std::size_t kMaxAddresses = 4096;

  using OnChange = std::function<void(const HostRoutesSnapshot&)>;

  /// The first snapshot is taken before this returns. `on_change` is called on later ones that
  /// differ. `loop` must outlive the object.
  static Result<std::unique_ptr<HostRoutes>> open(Loop& loop, OnChange on_change);

  const HostRoutesSnapshot& snapshot() const { return snapshot_; }

 private:
  HostRoutes(Loop& loop, OnChange on_change, UniqueFd notifications);

  void on_readable();
  void refresh();

  OnChange on_change_;
  UniqueFd notifications_;
  std::unique_ptr<FdWatch> watch_;
  std::unique_ptr<Timer> settle_;
  HostRoutesSnapshot snapshot_;
};

}  // namespace sluice
