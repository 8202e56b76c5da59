#pragma once

#include <functional>

#include <net/address.h>
#include <net/status.h>

#include "base/bytes.h"

namespace sluice::agent {

/// How a DHCP client's messages leave and come: the seam that tests script. A message is the
/// payload of a UDP datagram from port 68 to port 67, or back. Loop thread only.
class DhcpLink {
 public:
  /// Of a datagram to port 68 with a right checksum, whatever else it is. `message` lives during
  /// the call. Never called from inside send() or broadcast(). The callee may destroy the link.
  using Receiver = std::function<void(ConstBytes message)>;

  virtual ~DhcpLink() = default;
  virtual void set_receiver(Receiver receiver) = 0;
  /// To everybody on the link, from `source`: 0.0.0.0 before there is an address.
  virtual Status broadcast(const IpAddress& source, ConstBytes message) = 0;
  /// By the kernel's routes and neighbours, from an address that the interface has.
  virtual Status send(const IpAddress& source, const IpAddress& server, ConstBytes message) = 0;
};

}  // namespace sluice::agent
