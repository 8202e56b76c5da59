#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <net/address.h>
#include <net/status.h>

#include "agent/net/netlink_message.h"
#include "base/unique_fd.h"

namespace sluice::agent {

/// A socket that others can reach: TCP that listens, or UDP that is bound and has no peer.
struct OpenPort {
  Protocol protocol = Protocol::tcp;
  Endpoint at;
  std::uint32_t uid = 0;
  std::uint32_t inode = 0;
};

/// Of one answer of sock_diag(7) to a question for sockets of `protocol`. Nothing where it is no
/// such socket, or makes no sense.
std::optional<OpenPort> parse_open_port(const NetlinkMessage& message, Protocol protocol);

/// The open ports of one network namespace, by sock_diag(7). Holds the namespace as long as it is
/// there. Any one thread; its calls don't wait for anybody but the kernel.
class SocketDiag {
 public:
  /// More are not listed.
  static constexpr std::size_t kMaxPorts = 16384;

  /// Of the calling thread's namespace.
  static Result<SocketDiag> open();
  /// Of the namespace at `path` (/proc/PID/ns/net). The thread is in it for a moment; where it
  /// can't go back the process is ended, as nothing of it would be where it belongs.
  static Result<SocketDiag> open_in(const std::string& path);

  /// Both protocols, both families. UDP is left out where the kernel can't list it.
  Result<std::vector<OpenPort>> list();

 private:
  explicit SocketDiag(UniqueFd fd) : fd_(std::move(fd)) {}
  Status list(Family family, Protocol protocol, std::vector<OpenPort>& into);

  UniqueFd fd_;
  std::uint32_t sequence_ = 0;
};

/// The inodes of this process's own sockets.
std::set<std::uint32_t> own_sockets();

}  // namespace sluice::agent
