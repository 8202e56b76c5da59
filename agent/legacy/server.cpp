#include "agent/legacy/server.h"

#include <iterator>
#include <utility>

namespace sluice::agent::legacy {

Status Server::listen_unix(const std::string& path) {
  return add(
      rpc::Listener::unix_socket(loop_, path, [this](UniqueFd fd) { accept(std::move(fd)); }));
}

Status Server::listen_vsock(const rpc::VsockAddress& at) {
  return add(rpc::Listener::vsock(loop_, at, [this](UniqueFd fd) { accept(std::move(fd)); }));
}

Status Server::add(Result<std::unique_ptr<rpc::Listener>> listener) {
  if (!listener) return listener.status();
  listeners_.push_back(std::move(*listener));
  return Status::ok();
}

void Server::accept(UniqueFd fd) {
  if (connections_.size() >= kMaxConnections) return;
  connections_.emplace_back();
  auto place = std::prev(connections_.end());
  *place = std::make_unique<Connection>(loop_, methods_,
                                        std::make_unique<rpc::FdLink>(loop_, std::move(fd)),
                                        [this, place] { connections_.erase(place); });
}

}  // namespace sluice::agent::legacy
