#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "flow/relay_world.h"

namespace sluice::test {

/// A world with one flow that is open on both sides.
class OpenFlow : public RelayWorld {
 public:
  static inline const Endpoint kRemote{IpAddress::v4(198, 51, 100, 7), Port(443)};
  static inline const Endpoint kGuest{IpAddress::v4(192, 168, 127, 2), Port(40000)};

  explicit OpenFlow(const flow::TcpLimits& limits = {}) : RelayWorld(limits) { open(); }
  /// Its first flight is judged, or whatever else the gate says of it.
  explicit OpenFlow(std::function<flow::TcpRoute(const Endpoint&)> route) {
    gate.tcp = std::move(route);
    open();
  }
  /// A segment in order, acknowledging `taken` bytes of the host's.
  void send(std::string_view payload, std::uint8_t flags = kAck) {
    input(kGuest, kRemote,
          {.sequence = sequence,
           .acknowledgment = first + taken,
           .flags = flags,
           .window = window,
           .payload = payload});
    sequence += static_cast<std::uint32_t>(payload.size()) + ((flags & kFin) != 0 ? 1 : 0);
    settle();
  }
  std::string received() const { return port.stream(first); }

  std::shared_ptr<StreamPeer> host;
  std::uint32_t sequence = 1000;
  std::uint32_t first = 0;
  std::uint32_t taken = 0;
  std::uint16_t window = 65535;

 private:
  void open() {
    input(kGuest, kRemote, {.sequence = 999, .flags = kSyn, .options = {2, 4, 5, 180}});
    settle();
    host = net.dials.at(0);
    host->connect();
    settle();
    first = port.take().at(0).sequence + 1;
    send({});
  }
};

}  // namespace sluice::test
