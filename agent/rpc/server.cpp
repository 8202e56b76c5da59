#include "agent/rpc/server.h"

#include <fcntl.h>
#include <linux/vm_sockets.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "agent/rpc/serial_link.h"
#include "base/log.h"

namespace sluice::agent::rpc {

namespace {

constexpr int kBacklog = 128;
constexpr Duration kAcceptRest = std::chrono::milliseconds(100);

}  // namespace

Server::~Server() {
  for (const std::string& file : files_) ::unlink(file.c_str());
}

Status Server::listen_unix(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    return Status(StatusCode::invalid_argument, "the socket's path is too long: " + path);
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return Status::from_errno(errno, "socket AF_UNIX");
  struct stat found{};
  if (::lstat(path.c_str(), &found) == 0 && S_ISSOCK(found.st_mode)) ::unlink(path.c_str());
  // The mode is there from the beginning, not a moment after.
  mode_t before = ::umask(0177);
  int bound = ::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address);
  int error = errno;
  ::umask(before);
  if (bound != 0) return Status::from_errno(error, "bind " + path);
  files_.push_back(path);
  if (::listen(fd.get(), kBacklog) != 0) return Status::from_errno(errno, "listen on " + path);
  listen_on(std::move(fd));
  return Status::ok();
}

Status Server::listen_vsock(std::uint32_t port) {
  UniqueFd fd(::socket(AF_VSOCK, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return Status::from_errno(errno, "socket AF_VSOCK");
  sockaddr_vm address{};
  address.svm_family = AF_VSOCK;
  address.svm_cid = VMADDR_CID_ANY;
  address.svm_port = port;
  if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    return Status::from_errno(errno, "bind vsock port " + std::to_string(port));
  }
  if (::listen(fd.get(), kBacklog) != 0) return Status::from_errno(errno, "listen on vsock");
  listen_on(std::move(fd));
  return Status::ok();
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

void Server::serve(std::unique_ptr<Link> link) {
  connections_.emplace_back();
  auto place = std::prev(connections_.end());
  *place = std::make_unique<Connection>(loop_, methods_, std::move(link),
                                        [this, place] { connections_.erase(place); });
}

void Server::listen_on(UniqueFd fd) {
  Listener& listener = listeners_.emplace_back();
  listener.fd = std::move(fd);
  listener.retry =
      loop_.make_timer([&listener] { listener.watch->set_interest({.readable = true}); });
  listener.watch = loop_.watch(listener.fd.get(), {.readable = true},
                               [this, &listener](FdReady) { accept_some(listener); });
}

void Server::accept_some(Listener& listener) {
  for (;;) {
    UniqueFd fd(::accept4(listener.fd.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (fd) {
      if (connections_.size() < kMaxConnections && is_trusted(fd.get())) {
        serve(std::make_unique<FdLink>(loop_, std::move(fd)));
      }
      continue;
    }
    if (errno == EINTR || errno == ECONNABORTED) continue;
    if (errno != EAGAIN) {
      // Out of descriptors or memory: the connection stays in the backlog until there are some.
      log(LogLevel::warn, "agent: accept: {}", std::strerror(errno));
      listener.watch->set_interest({});
      listener.retry->start(kAcceptRest);
    }
    return;
  }
}

/// Any process of the guest can connect over vsock's loopback; only the host may command the guest.
/// A Unix socket's mode says who may.
bool Server::is_trusted(int fd) {
  sockaddr_storage peer{};
  socklen_t size = sizeof peer;
  if (::getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &size) != 0) return false;
  if (peer.ss_family != AF_VSOCK) return true;
  sockaddr_vm address{};
  std::memcpy(&address, &peer, sizeof address);
  return address.svm_cid == VMADDR_CID_HOST;
}

}  // namespace sluice::agent::rpc
