#include "agent/rpc/listener.h"

// Before the kernel's header, which takes it for granted.
#include <sys/socket.h>

#include <fmt/format.h>
#include <linux/vm_sockets.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>

#include "base/log.h"
#include "base/posix_address.h"

namespace sluice::agent::rpc {

namespace {

constexpr int kBacklog = 128;
constexpr Duration kAcceptRest = std::chrono::milliseconds(100);
constexpr mode_t kOwnerOnly = 0177;
/// Then others have their turn: on TCP anybody may connect without end.
constexpr int kAcceptsPerTurn = 64;
/// A host that has gone without a word is noticed after a minute and a half.
constexpr int kKeepAliveIdle = 60;
constexpr int kKeepAliveInterval = 10;
constexpr int kKeepAliveProbes = 3;

bool comes_from(int fd, std::uint32_t cid) {
  sockaddr_vm peer{};
  socklen_t size = sizeof peer;
  return ::getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &size) == 0 && peer.svm_cid == cid;
}

}  // namespace

Result<std::unique_ptr<Listener>> Listener::unix_socket(Loop& loop, const std::string& path,
                                                        OnConnection on_connection) {
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return Status::from_errno(errno, "socket AF_UNIX");
  // The mode is there from the beginning, not a moment after.
  mode_t before = ::umask(kOwnerOnly);
  auto file = bind_unix(fd.get(), path);
  ::umask(before);
  if (!file) return file.status();
  if (::listen(fd.get(), kBacklog) != 0) return Status::from_errno(errno, "listen on " + path);
  return std::unique_ptr<Listener>(
      new Listener(loop, std::move(fd), std::move(*file), std::move(on_connection)));
}

Result<std::unique_ptr<Listener>> Listener::vsock(Loop& loop, const VsockAddress& at,
                                                  OnConnection on_connection) {
  UniqueFd fd(::socket(AF_VSOCK, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd && errno == EAFNOSUPPORT) {
    return Status(StatusCode::unsupported, "this kernel has no vsock");
  }
  if (!fd) return Status::from_errno(errno, "socket AF_VSOCK");
  sockaddr_vm address{};
  address.svm_family = AF_VSOCK;
  address.svm_cid = VMADDR_CID_ANY;
  address.svm_port = at.port;
  if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    return Status::from_errno(errno, fmt::format("bind vsock port {}", at.port));
  }
  if (::listen(fd.get(), kBacklog) != 0) return Status::from_errno(errno, "listen on vsock");
  auto admit = [from = at.from, on_connection = std::move(on_connection)](UniqueFd peer) {
    if (comes_from(peer.get(), from)) on_connection(std::move(peer));
  };
  return std::unique_ptr<Listener>(
      new Listener(loop, std::move(fd), UnixSocketFile(), std::move(admit)));
}

Result<std::unique_ptr<Listener>> Listener::tcp(Loop& loop, const Endpoint& at,
                                                OnConnection on_connection) {
  Endpoint place = at;
  bool is_any = at.address == IpAddress::any(Family::v6);
  auto open = [&place] {
    return UniqueFd(::socket(address_family(place.address.family()),
                             SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  };
  UniqueFd fd = open();
  if (!fd && errno == EAFNOSUPPORT && is_any) {
    place.address = IpAddress::any(Family::v4);
    fd = open();
  }
  if (!fd) return Status::from_errno(errno, "socket TCP");
  set_option(fd.get(), SOL_SOCKET, SO_REUSEADDR, 1);
  set_option(fd.get(), IPPROTO_IP, IP_FREEBIND, 1);
  if (place.address.is_v6()) set_option(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, is_any ? 0 : 1);
  // What is accepted has them too.
  set_option(fd.get(), IPPROTO_TCP, TCP_NODELAY, 1);
  set_option(fd.get(), SOL_SOCKET, SO_KEEPALIVE, 1);
  set_option(fd.get(), IPPROTO_TCP, TCP_KEEPIDLE, kKeepAliveIdle);
  set_option(fd.get(), IPPROTO_TCP, TCP_KEEPINTVL, kKeepAliveInterval);
  set_option(fd.get(), IPPROTO_TCP, TCP_KEEPCNT, kKeepAliveProbes);
  SocketAddress address(place);
  if (::bind(fd.get(), address.get(), address.size()) != 0) {
    return Status::from_errno(errno, "bind TCP " + place.to_string());
  }
  if (::listen(fd.get(), kBacklog) != 0) {
    return Status::from_errno(errno, "listen on TCP " + place.to_string());
  }
  return std::unique_ptr<Listener>(
      new Listener(loop, std::move(fd), UnixSocketFile(), std::move(on_connection)));
}

Listener::Listener(Loop& loop, UniqueFd fd, UnixSocketFile file, OnConnection on_connection)
    : file_(std::move(file)), fd_(std::move(fd)), on_connection_(std::move(on_connection)) {
  retry_ = loop.make_timer([this] { watch_->set_interest({.readable = true}); });
  watch_ = loop.watch(fd_.get(), {.readable = true}, [this](FdReady) { accept_all(); });
}

void Listener::accept_all() {
  for (int accepted = 0; accepted < kAcceptsPerTurn; ++accepted) {
    UniqueFd fd(::accept4(fd_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (fd) {
      on_connection_(std::move(fd));
      continue;
    }
    if (errno == EINTR || errno == ECONNABORTED) continue;
    if (errno != EAGAIN) {
      log(LogLevel::warn, "accept: {}", std::strerror(errno));
      watch_->set_interest({});
      retry_->start(kAcceptRest);
    }
    return;
  }
}

}  // namespace sluice::agent::rpc
