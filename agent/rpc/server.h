#pragma once

#include <net/status.h>

#include <functional>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include "agent/rpc/connection.h"
#include "agent/rpc/listener.h"
#include "agent/rpc/token_gate.h"
#include "base/loop.h"
#include "base/unique_fd.h"

namespace sluice::agent::rpc {

/// The port of the agent on vsock.
inline constexpr std::uint32_t kVsockPort = 1024;
/// Connections at once, over all listeners; what is beyond is closed at once.
inline constexpr std::size_t kMaxConnections = 64;

/// Takes connections and serves calls on them. One thread; must end before the Loop and the
/// Methods.
class Server {
 public:
  Server(Loop& loop, const Methods& methods) : loop_(loop), methods_(methods) {}
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  /// As Listener has it.
  Status listen_unix(const std::string& path);
  Status listen_vsock(const VsockAddress& at);
  /// TCP, behind a gate of its own. Once.
  Status listen_tcp(const Endpoint& at, BootToken token, TokenGate::Admits admits);
  /// A virtio-serial port: a device without connections, which is one for ever (serial_link.h).
  Status serve_serial(const std::string& device);
  /// A connection that is there already. `on_end` is told when it has gone.
  void serve(std::unique_ptr<Link> link, std::function<void()> on_end = {});

  std::size_t connections() const { return connections_.size(); }
  /// Of TCP; null where that isn't served.
  const TokenGate* gate() const { return gate_.get(); }

 private:
  void accept(UniqueFd fd);

  Loop& loop_;
  const Methods& methods_;
  std::unique_ptr<TokenGate> gate_;
  std::vector<std::unique_ptr<Listener>> listeners_;
  std::list<std::unique_ptr<Connection>> connections_;
};

}  // namespace sluice::agent::rpc
