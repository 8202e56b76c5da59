#pragma once

#include <functional>
#include <memory>

#include "agent/rpc/link.h"
#include "agent/rpc/serial_link.h"

namespace sluice::agent::client {

/// The host's end of a virtio-serial line (agent/rpc/serial_link.h): begins with a reset of its
/// own, and passes nothing on until the agent has sent it back. A reset that is not its own means
/// that another agent has begun at the other end: then the link is at its end.
class SerialClientLink final : public rpc::Link {
 public:
  SerialClientLink(Loop& loop, UniqueFd fd);

  IoResult read(Bytes into) override;
  IoResult write(ConstBytes from) override;
  void set_interest(FdReady interest) override;
  void set_handler(std::function<void(FdReady)> on_ready) override {
    on_ready_ = std::move(on_ready);
  }

 private:
  void on_fd_ready(FdReady ready);
  void watch();

  Loop& loop_;
  UniqueFd fd_;
  std::function<void(FdReady)> on_ready_;
  FdReady interest_;
  rpc::SerialNonce nonce_;
  rpc::SerialReader reader_;
  rpc::SerialWriter writer_;
  bool synchronized_ = false;
  std::unique_ptr<FdWatch> watch_;
};

}  // namespace sluice::agent::client
