#include "base/posix_listen.h"

#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <cerrno>

#include "base/posix_address.h"

namespace sluice {

namespace {

/// Out of something that others may give back; every other failure concerns one connection.
bool is_shortage(int error) {
  return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

/// Connections that failed before they were accepted, skipped in one call.
constexpr int kSkipLimit = 64;

}  // namespace

PosixListener::PosixListener(Poller& poller, UniqueFd fd, StreamKind kind, UnixSocketFile file)
    : poller_(poller),
      file_(std::move(file)),
      source_(poller, std::move(fd)),
      kind_(kind),
      retry_(poller.loop().make_timer([this] { source_.report_later({.readable = true}); })) {}

Result<std::unique_ptr<ListenSocket>> PosixListener::listen(Poller& poller, UniqueFd fd,
                                                            StreamKind kind, UnixSocketFile file,
                                                            const std::string& where) {
  if (::listen(fd.get(), SOMAXCONN) != 0) return Status::from_errno(errno, "listen on " + where);
  auto listener = std::make_unique<PosixListener>(poller, std::move(fd), kind, std::move(file));
  if (Status status = listener->source_.start(EPOLLIN); !status) return status;
  return std::unique_ptr<ListenSocket>(std::move(listener));
}

Result<std::unique_ptr<ListenSocket>> PosixListener::tcp(Poller& poller, const Endpoint& at) {
  const std::string where = at.to_string();
  UniqueFd fd(::socket(address_family(at.address.family()),
                       SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP));
  if (!fd) return Status::from_errno(errno, "open a TCP socket for " + where);
  set_option(fd.get(), SOL_SOCKET, SO_REUSEADDR, 1);
  if (at.address.is_v6()) set_option(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, 1);
  SocketAddress address(at);
  if (::bind(fd.get(), address.get(), address.size()) != 0) {
    return Status::from_errno(errno, "listen on " + where);
  }
  return listen(poller, std::move(fd), StreamKind::tcp, {}, where);
}

Result<std::unique_ptr<ListenSocket>> PosixListener::unix_domain(Poller& poller,
                                                                 const std::string& path) {
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return Status::from_errno(errno, "open a Unix socket for " + path);
  auto file = bind_unix(fd.get(), path);
  if (!file) return file.status();
  return listen(poller, std::move(fd), StreamKind::unix_domain, std::move(*file), path);
}

ListenSocket::Accepted PosixListener::accept() {
  for (int skipped = 0; skipped < kSkipLimit; ++skipped) {
    UniqueFd fd(::accept4(source_.fd(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (fd) {
      auto stream = PosixStream::adopt(poller_, std::move(fd), kind_);
      if (stream) return {std::move(*stream), 0};
      retry_->start(kAcceptRetry);
      return {nullptr, ENOMEM};
    }
    if (errno == EAGAIN) return {nullptr, EAGAIN};
    if (is_shortage(errno)) {
      int error = errno;
      retry_->start(kAcceptRetry);
      return {nullptr, error};
    }
    // EINVAL and the like mean that the listener itself is unusable: skipping would never end.
  }
  retry_->start(kAcceptRetry);
  return {nullptr, EAGAIN};
}

std::optional<Endpoint> PosixListener::local() const {
  return local_endpoint(source_.fd());
}

}  // namespace sluice
