#pragma once

#include <net/status.h>

#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include "agent/legacy/connection.h"
#include "agent/rpc/listener.h"

namespace sluice::agent::legacy {

/// Connections at once; what is beyond is closed at once.
inline constexpr std::size_t kMaxConnections = 16;

/// Takes connections in the older framing, on listeners of its own. One thread; must end before the
/// Loop and the Methods.
class Server {
 public:
  Server(Loop& loop, const rpc::Methods& methods) : loop_(loop), methods_(methods) {}
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  /// As rpc::Listener has them.
  Status listen_unix(const std::string& path);
  Status listen_vsock(const rpc::VsockAddress& at);

 private:
  Status add(Result<std::unique_ptr<rpc::Listener>> listener);
  void accept(UniqueFd fd);

  Loop& loop_;
  const rpc::Methods& methods_;
  std::vector<std::unique_ptr<rpc::Listener>> listeners_;
  std::list<std::unique_ptr<Connection>> connections_;
};

}  // namespace sluice::agent::legacy
