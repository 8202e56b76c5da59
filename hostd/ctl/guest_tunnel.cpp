#include "hostd/ctl/guest_tunnel.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>

#include "hostd/ctl/guest_text.h"

namespace sluice::ctl {

namespace {

using agent::client::Tunnel;
using agent::rpc::CallError;
using agent::rpc::Code;

constexpr std::size_t kInputBytes = std::size_t{32} << 10;

}  // namespace

void GuestTunnel::begin(agent::client::Caller& caller, const std::string& host, std::uint16_t port,
                        std::function<void(int)> end) {
  end_ = std::move(end);
  std::signal(SIGPIPE, SIG_IGN);
  tunnel_ = std::make_unique<Tunnel>(
      caller, host, port,
      Tunnel::Events{
          .on_opened =
              [this] {
                input_open_ = true;
                input_watch_ = loop_.watch(STDIN_FILENO, {.readable = true},
                                           [this](FdReady) { pump_input(); });
                // A file is always ready, and can't be waited for.
                if (!input_watch_) loop_.defer([this] { pump_input(); });
              },
          .on_data = [this](ConstBytes bytes) { print(bytes); },
          .on_closed = [this] { end_(0); },
          .on_room = [this] { pump_input(); },
          .on_end = [this](const CallError& error) { end_(worked(error) ? 0 : kFailed); }});
}

void GuestTunnel::print(ConstBytes bytes) {
  tunnel_->consumed(bytes.size());
  if (!write_all(STDOUT_FILENO, bytes)) end_(kFailed);
}

void GuestTunnel::pump_input() {
  while (input_open_ && tunnel_->room() > 0) {
    std::uint8_t piece[kInputBytes];
    ssize_t got = ::read(STDIN_FILENO, piece, std::min(sizeof piece, tunnel_->room()));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) break;
    if (got <= 0) {
      input_open_ = false;
      tunnel_->close();
    } else {
      tunnel_->write({piece, static_cast<std::size_t>(got)});
    }
    // It may not be non-blocking, so it is read once each time that it is said to be ready.
    if (input_watch_) break;
  }
  if (input_watch_) input_watch_->set_interest({.readable = input_open_ && tunnel_->room() > 0});
}

}  // namespace sluice::ctl
