#include "agent/rpc/server.h"

#include <fcntl.h>

#include <cerrno>
#include <iterator>

#include "agent/rpc/serial_link.h"

namespace sluice::agent::rpc {

Status Server::listen_unix(const std::string& path) {
  auto listener =
      Listener::unix_socket(loop_, path, [this](UniqueFd fd) { accept(std::move(fd)); });
  if (!listener) return listener.status();
  listeners_.push_back(std::move(*listener));
  return Status::ok();
}

Status Server::listen_vsock(const VsockAddress& at) {
  auto listener = Listener::vsock(loop_, at, [this](UniqueFd fd) { accept(std::move(fd)); });
  if (!listener) return listener.status();
  listeners_.push_back(std::move(*listener));
  return Status::ok();
}

Status Server::listen_tcp(const Endpoint& at, BootToken token, TokenGate::Admits admits) {
  gate_ = std::make_unique<TokenGate>(loop_, std::move(token), std::move(admits),
                                      [this](UniqueFd fd) { accept(std::move(fd)); });
  auto listener = Listener::tcp(loop_, at, [this](UniqueFd fd) { gate_->take(std::move(fd)); });
  if (!listener) return listener.status();
  listeners_.push_back(std::move(*listener));
  return Status::ok();
}

void Server::accept(UniqueFd fd) {
  if (connections_.size() < kMaxConnections) {
    serve(std::make_unique<FdLink>(loop_, std::move(fd)));
  }
}

Status Server::serve_serial(const std::string& device) {
  UniqueFd fd(::open(device.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOCTTY));
  if (!fd) return Status::from_errno(errno, "open " + device);
  connections_.emplace_back();
  auto place = std::prev(connections_.end());
  auto link = std::make_unique<SerialLink>(loop_, std::move(fd));
  SerialLink& serial = *link;
  *place = std::make_unique<Connection>(loop_, methods_, std::move(link),
                                        [this, place] { connections_.erase(place); });
  serial.set_reset_handler([connection = place->get()] { connection->reset(); });
  return Status::ok();
}

void Server::serve(std::unique_ptr<Link> link, std::function<void()> on_end) {
  connections_.emplace_back();
  auto place = std::prev(connections_.end());
  *place = std::make_unique<Connection>(loop_, methods_, std::move(link),
                                        [this, place, on_end = std::move(on_end)] {
                                          connections_.erase(place);
                                          if (on_end) on_end();
                                        });
}

}  // namespace sluice::agent::rpc
