#pragma once

#include <memory>

#include "agent/ports/port_watch.h"
#include "agent/rpc/call.h"
#include "base/loop.h"

namespace sluice::agent {

/// One call of Network.Ports. Looks every kLook, as long as the client takes what it is told; what
/// is sent is always the difference to what was sent before, so a slow client costs nothing.
class PortsCall final : public rpc::Handler {
 public:
  static constexpr Duration kLook = std::chrono::milliseconds(250);
  static constexpr std::size_t kMaxNamespaces = 64;
  static constexpr std::size_t kMaxPortsPerMessage = 1024;

  /// Null where the call was answered with an error. `loop` and `others` outlive it.
  static std::unique_ptr<rpc::Handler> begin(Loop& loop, const PortNamespaces& others,
                                             rpc::Call& call, ConstBytes request);

  void on_writable() override;

 private:
  PortsCall(Loop& loop, rpc::Call& call, PortWatch watch);
  void look();
  bool send_change();

  rpc::Call& call_;
  PortWatch watch_;
  bool present_told_ = false;
  bool held_up_ = false;
  std::unique_ptr<Timer> timer_;
};

}  // namespace sluice::agent
