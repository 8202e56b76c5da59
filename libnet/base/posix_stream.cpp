#include "base/posix_stream.h"

#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "base/pieces.h"
#include "base/posix_address.h"
#include "base/posix_unix.h"

namespace sluice {

namespace {

constexpr std::uint32_t kStreamEvents = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLPRI;

msghdr message_of(std::span<const iovec> pieces) {
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(pieces.data());
  message.msg_iovlen = pieces.size();
  return message;
}

std::span<const iovec> at_most_iov_max(std::span<const iovec> pieces) {
  return pieces.first(std::min<std::size_t>(pieces.size(), IOV_MAX));
}

/// recvmsg(), but for no room: the kernel would answer 0, which means the end of the stream.
IoResult receive_into(int fd, std::span<const iovec> pieces, int flags) {
  if (total_size(pieces) == 0) return {.error = EAGAIN};
  msghdr message = message_of(pieces);
  ssize_t n;
  do {
    n = ::recvmsg(fd, &message, flags);
  } while (n < 0 && errno == EINTR);
  if (n < 0) return {.error = errno};
  return {.bytes = static_cast<std::size_t>(n)};
}

/// Failing to set these costs speed, lateness or a byte that few still send, so failure is no
/// error.
void tune_tcp(int fd) {
  // RFC 6093 section 5: what is urgent stays where it is in the stream.
  set_option(fd, SOL_SOCKET, SO_OOBINLINE, 1);
  set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, kKeepAliveIdleSeconds);
}

Result<std::unique_ptr<StreamSocket>> started(std::unique_ptr<PosixStream> stream,
                                              const Status& status) {
  if (!status) return status;
  return std::unique_ptr<StreamSocket>(std::move(stream));
}

}  // namespace

Result<std::unique_ptr<StreamSocket>> PosixStream::dial_tcp(Poller& poller, const Endpoint& to,
                                                            unsigned link) {
  UniqueFd fd(::socket(address_family(to.address.family()),
                       SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP));
  if (!fd) return Status::from_errno(errno, "open a TCP socket for " + to.to_string());
  tune_tcp(fd.get());
  auto stream = std::make_unique<PosixStream>(poller, std::move(fd), StreamKind::tcp);
  SocketAddress address(to, link);
  stream->connect(address.get(), address.size());
  // Watched only now: before connect() epoll would report a hang-up. After a connect() that failed
  // at once it does too, and that is the readiness with which the owner learns of the failure.
  Status status = stream->source_.start(kStreamEvents);
  return started(std::move(stream), status);
}

Result<std::unique_ptr<StreamSocket>> PosixStream::dial_unix(Poller& poller,
                                                             const std::string& path) {
  auto address = unix_address(path);
  if (!address) return address.status();
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return Status::from_errno(errno, "open a Unix socket for " + path);
  auto stream = std::make_unique<PosixStream>(poller, std::move(fd), StreamKind::unix_domain);
  stream->connect(reinterpret_cast<const sockaddr*>(&*address), sizeof *address);
  // A Unix socket whose listener's backlog is full never becomes ready: that counts as refused.
  if (stream->dial_error_ == EAGAIN) stream->dial_error_ = ECONNREFUSED;
  Status status = stream->source_.start(kStreamEvents);
  return started(std::move(stream), status);
}

Result<std::unique_ptr<StreamSocket>> PosixStream::adopt(Poller& poller, UniqueFd fd,
                                                         StreamKind kind) {
  if (kind == StreamKind::tcp) tune_tcp(fd.get());
  auto stream = std::make_unique<PosixStream>(poller, std::move(fd), kind);
  Status status = stream->source_.start(kStreamEvents);
  return started(std::move(stream), status);
}

void PosixStream::connect(const sockaddr* address, unsigned size) {
  dialled_ = true;
  if (::connect(source_.fd(), address, size) != 0 && errno != EINPROGRESS) dial_error_ = errno;
}

int PosixStream::connect_result() {
  if (dial_error_ != 0 || !dialled_) return dial_error_;
  dial_error_ = take_error();
  if (dial_error_ == 0 && kind_ == StreamKind::tcp) {
    auto from = local(), to = peer();
    // Where the kernel picks as source the very port that is dialled, TCP connects to itself.
    if (!to) {
      dial_error_ = ENOTCONN;
    } else if (from == to) {
      dial_error_ = ECONNREFUSED;
    }
  }
  dialled_ = dial_error_ != 0;
  return dial_error_;
}

IoResult PosixStream::send(std::span<const iovec> data) {
  auto pieces = at_most_iov_max(data);
  msghdr message = message_of(pieces);
  ssize_t n;
  do {
    n = ::sendmsg(source_.fd(), &message, MSG_NOSIGNAL);
  } while (n < 0 && errno == EINTR);
  if (n < 0) return {.error = errno};
  auto bytes = static_cast<std::size_t>(n);
  return {.bytes = bytes, .drained = bytes < total_size(pieces)};
}

IoResult PosixStream::receive(std::span<const iovec> buffers) {
  auto pieces = at_most_iov_max(buffers);
  IoResult result = receive_into(source_.fd(), pieces, 0);
  peek_at_ -= std::min(peek_at_, result.bytes);
  // What comes after the last readiness makes a new one; what came with it does not.
  result.drained = result.bytes > 0 && result.bytes < total_size(pieces) && !source_.stops_early();
  return result;
}

void PosixStream::shutdown_send() {
  ::shutdown(source_.fd(), SHUT_WR);
}

void PosixStream::reset_on_close() {
  linger abort{.l_onoff = 1, .l_linger = 0};
  ::setsockopt(source_.fd(), SOL_SOCKET, SO_LINGER, &abort, sizeof abort);
}

std::size_t PosixStream::pending_bytes() {
  int size = 0;
  return ::ioctl(source_.fd(), FIONREAD, &size) == 0 && size > 0 ? static_cast<std::size_t>(size)
                                                                 : 0;
}

bool PosixStream::can_peek() {
  if (kind_ != StreamKind::tcp) return false;
  peek_at_ = 0;
  return set_option(source_.fd(), SOL_SOCKET, SO_PEEK_OFF, 0);
}

IoResult PosixStream::peek(std::size_t offset, std::span<const iovec> buffers) {
  if (peek_at_ != offset &&
      !set_option(source_.fd(), SOL_SOCKET, SO_PEEK_OFF, static_cast<int>(offset))) {
    return {.error = errno};
  }
  IoResult result = receive_into(source_.fd(), at_most_iov_max(buffers), MSG_PEEK);
  // The kernel moves the offset by what it gave, and back by what is read.
  peek_at_ = offset + result.bytes;
  return result;
}

bool PosixStream::discard(std::size_t bytes) {
  while (bytes > 0) {
    // To TCP, MSG_TRUNC says that nobody wants the bytes.
    ssize_t n = ::recv(source_.fd(), nullptr, bytes, MSG_TRUNC);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    auto gone = static_cast<std::size_t>(n);
    peek_at_ -= std::min(peek_at_, gone);
    bytes -= gone;
  }
  return true;
}

int PosixStream::take_error() {
  int error = 0;
  socklen_t size = sizeof error;
  if (::getsockopt(source_.fd(), SOL_SOCKET, SO_ERROR, &error, &size) != 0) return errno;
  return error;
}

std::optional<Endpoint> PosixStream::local() const {
  return local_endpoint(source_.fd());
}

std::optional<Endpoint> PosixStream::peer() const {
  return peer_endpoint(source_.fd());
}

}  // namespace sluice
