#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "agent/client/network.h"
#include "base/uv_loop.h"

namespace sluice::ctl {

/// One `guest tunnel`: our standard input and output, and a connection in the guest. Ends when the
/// server has said all; the end of our input is passed on.
class GuestTunnel {
 public:
  explicit GuestTunnel(UvLoop& loop) : loop_(loop) {}
  GuestTunnel(const GuestTunnel&) = delete;
  GuestTunnel& operator=(const GuestTunnel&) = delete;

  /// Port 0: `host` is the path of a Unix socket.
  void begin(agent::client::Caller& caller, const std::string& host, std::uint16_t port,
             std::function<void(int)> end);

 private:
  void pump_input();
  void print(ConstBytes bytes);

  UvLoop& loop_;
  std::function<void(int)> end_;
  std::unique_ptr<agent::client::Tunnel> tunnel_;
  bool input_open_ = false;
  std::unique_ptr<FdWatch> input_watch_;
};

}  // namespace sluice::ctl
