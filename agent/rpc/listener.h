#pragma once

#include <net/address.h>
#include <net/status.h>

#include <functional>
#include <memory>
#include <string>

#include "base/loop.h"
#include "base/posix_unix.h"
#include "base/unique_fd.h"

namespace sluice::agent::rpc {

/// Where the agent is called on vsock, and by whom.
struct VsockAddress {
  std::uint32_t port = 0;
  std::uint32_t from = 2;  ///< The caller's CID; 2 is the host.
};

/// A listening socket and what it accepts. One thread. Where there are no descriptors for a
/// connection it stays in the backlog, and is tried again.
class Listener {
 public:
  /// The descriptor is non-blocking and close-on-exec. May destroy other listeners, not this one.
  using OnConnection = std::function<void(UniqueFd)>;

  /// Of mode 0600, its file removed at the end. already_exists: somebody serves there.
  static Result<std::unique_ptr<Listener>> unix_socket(Loop& loop, const std::string& path,
                                                       OnConnection on_connection);
  /// Connections of one CID alone (the host is 2): any process of the guest could connect over
  /// vsock's loopback (1). Others are closed at once. unsupported: this kernel has no vsock.
  static Result<std::unique_ptr<Listener>> vsock(Loop& loop, const VsockAddress& at,
                                                 OnConnection on_connection);
  /// TCP, with keep-alive and without Nagle. `::` is every address of both families, or of IPv4
  /// where there is no other; one address need not be there yet. Whoever connects is given on.
  static Result<std::unique_ptr<Listener>> tcp(Loop& loop, const Endpoint& at,
                                               OnConnection on_connection);
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

 private:
  Listener(Loop& loop, UniqueFd fd, UnixSocketFile file, OnConnection on_connection);
  void accept_all();

  UnixSocketFile file_;
  UniqueFd fd_;
  OnConnection on_connection_;
  std::unique_ptr<Timer> retry_;
  std::unique_ptr<FdWatch> watch_;
};

}  // namespace sluice::agent::rpc
