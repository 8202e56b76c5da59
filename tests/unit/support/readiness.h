#pragma once

#include <memory>

#include "base/host_net.h"

namespace sluice::test {

/// Edge-triggered readiness of one scripted socket: collected, then reported by a deferred task.
class Readiness {
 public:
  explicit Readiness(Loop& loop) : loop_(loop), alive_(std::make_shared<bool>(true)) {}
  ~Readiness() { *alive_ = false; }
  Readiness(const Readiness&) = delete;
  Readiness& operator=(const Readiness&) = delete;

  void set_handler(SocketHandler* handler) {
    handler_ = handler;
    if (handler) schedule();
  }
  void raise(SocketReady ready) {
    waiting_.readable |= ready.readable;
    waiting_.writable |= ready.writable;
    waiting_.error |= ready.error;
    schedule();
  }

 private:
  void schedule() {
    if (scheduled_ || !(waiting_.readable || waiting_.writable || waiting_.error)) return;
    scheduled_ = true;
    loop_.defer([this, alive = alive_] {
      if (!*alive) return;
      scheduled_ = false;
      if (!handler_) return;
      SocketReady ready = waiting_;
      waiting_ = {};
      handler_->on_socket_ready(ready);
    });
  }

  Loop& loop_;
  std::shared_ptr<bool> alive_;
  SocketHandler* handler_ = nullptr;
  SocketReady waiting_;
  bool scheduled_ = false;
};

}  // namespace sluice::test
