#pragma once

#include <functional>
#include <memory>

#include "base/bytes.h"
#include "base/host_net.h"
#include "base/loop.h"
#include "base/unique_fd.h"

namespace sluice::agent::rpc {

/// A way to one peer: bytes both ways, in order.
class Link {
 public:
  virtual ~Link() = default;
  /// 0 bytes: the peer is gone.
  virtual IoResult read(Bytes into) = 0;
  virtual IoResult write(ConstBytes from) = 0;
  /// What to be told of; a link begins with nothing. The callback is level-triggered and is never
  /// called from inside a call. It may destroy the link.
  virtual void set_interest(FdReady interest) = 0;
  virtual void set_handler(std::function<void(FdReady)> on_ready) = 0;
};

/// Has `watch` tell of `fd` what `interest` is in. Without an interest there is no watch: a hang-up
/// would be told without end. False where `fd` can't be waited for.
bool watch_for(Loop& loop, std::unique_ptr<FdWatch>& watch, int fd, FdReady interest,
               std::function<void(FdReady)> on_ready);

/// Over a stream descriptor: a Unix, TCP or vsock socket, or a pipe each way.
class FdLink final : public Link {
 public:
  /// `in` and `out` become non-blocking. Without `out`, `in` is for both.
  FdLink(Loop& loop, UniqueFd in, UniqueFd out = {});
  ~FdLink() override { *alive_ = false; }
  FdLink(const FdLink&) = delete;
  FdLink& operator=(const FdLink&) = delete;

  IoResult read(Bytes into) override;
  IoResult write(ConstBytes from) override;
  void set_interest(FdReady interest) override;
  void set_handler(std::function<void(FdReady)> on_ready) override {
    on_ready_ = std::move(on_ready);
  }

 private:
  int out() const { return out_ ? out_.get() : in_.get(); }
  void watch(std::unique_ptr<FdWatch>& watch, int fd, FdReady interest);
  void be_ready_later(FdReady interest);

  Loop& loop_;
  UniqueFd in_;
  UniqueFd out_;
  std::function<void(FdReady)> on_ready_;
  FdReady ready_;
  bool ready_later_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  std::unique_ptr<FdWatch> in_watch_;  // After the descriptors: a watch ends before its own.
  std::unique_ptr<FdWatch> out_watch_;
};

}  // namespace sluice::agent::rpc
