#pragma once

#include <unistd.h>

#include <array>
#include <cerrno>
#include <functional>
#include <memory>

#include "agent/client/byte_stream.h"
#include "base/uv_loop.h"

namespace sluice::ctl {

/// Carries what a descriptor has into a call, as the guest grants it.
class InputPump {
 public:
  /// `on_end` is told once all was given to the call, which then is to be finished: 0, or the errno
  /// that ended it. `fd` stays the caller's.
  InputPump(UvLoop& loop, int fd, std::function<void(int error)> on_end)
      : loop_(loop), fd_(fd), on_end_(std::move(on_end)) {}
  InputPump(const InputPump&) = delete;
  InputPump& operator=(const InputPump&) = delete;

  void begin(agent::client::Upload& upload) {
    upload_ = &upload;
    watch_ = loop_.watch(fd_, {.readable = true}, [this](FdReady) { pump(); });
    // A file is always ready, and can't be waited for.
    if (!watch_) loop_.defer([this] { pump(); });
  }

  /// The call has room again.
  void pump() {
    while (open_ && upload_ && upload_->room() > 0) {
      std::array<std::uint8_t, kPieceBytes> piece;
      ssize_t got = ::read(fd_, piece.data(), std::min(piece.size(), upload_->room()));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0 && errno == EAGAIN) break;
      if (got <= 0) {
        open_ = false;
        watch_.reset();
        return on_end_(got < 0 ? errno : 0);
      }
      upload_->write({piece.data(), static_cast<std::size_t>(got)});
      // What can be waited for is, as the next read might block.
      if (watch_) break;
    }
    if (watch_) watch_->set_interest({.readable = upload_ && upload_->room() > 0});
  }

 private:
  static constexpr std::size_t kPieceBytes = std::size_t{64} << 10;

  UvLoop& loop_;
  int fd_;
  std::function<void(int)> on_end_;
  agent::client::Upload* upload_ = nullptr;
  std::unique_ptr<FdWatch> watch_;
  bool open_ = true;
};

}  // namespace sluice::ctl
