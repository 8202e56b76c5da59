#pragma once

#include <memory>
#include <string>

#include "base/host_net.h"
#include "base/posix_datagram.h"
#include "base/posix_source.h"

namespace sluice {

/// The kernel's sockets, in the epoll set of a Loop. Must outlive its sockets and end before the
/// Loop.
class PosixNet final : public HostNet {
 public:
  explicit PosixNet(Poller& poller) : poller_(poller) {}

  /// Link-local destinations of IPv6 are on the interface of this index from now on; 0: they can't
  /// be reached.
  void set_link(int link) { batch_.link = static_cast<unsigned>(link); }

  Result<std::unique_ptr<StreamSocket>> dial_tcp(const Endpoint& to) override;
  Result<std::unique_ptr<StreamSocket>> dial_unix(const std::string& path) override;
  Result<std::unique_ptr<StreamSocket>> adopt(UniqueFd fd) override;
  Result<std::unique_ptr<ListenSocket>> listen_tcp(const Endpoint& at) override;
  Result<std::unique_ptr<ListenSocket>> listen_unix(const std::string& path) override;
  Result<std::unique_ptr<DatagramSocket>> open_udp(const Endpoint& at) override;
  Result<std::unique_ptr<DatagramSocket>> open_query(Family family) override;
  Result<std::unique_ptr<DatagramSocket>> open_ping(Family family) override;

 private:
  Poller& poller_;
  DatagramBatch batch_;
};

}  // namespace sluice
