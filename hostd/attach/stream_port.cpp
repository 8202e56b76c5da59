#include "hostd/attach/stream_port.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <cerrno>
#include <cstring>

#include "link/slab.h"

namespace sluice::hostd {

namespace {

constexpr std::size_t kLength = 4;
/// A slab with less room than one frame at the largest is left for the next.
constexpr std::size_t kLeastRoom = kLength + link::kMaxFrame;
constexpr int kSocketBuffer = 1 << 20;

}  // namespace

void StreamPort::open(UniqueFd socket) {
  slab_begin_ = slab_end_ = 0;
  // As much as the kernel allows; what it allows is no error.
  ::setsockopt(socket.get(), SOL_SOCKET, SO_SNDBUF, &kSocketBuffer, sizeof kSocketBuffer);
  ::setsockopt(socket.get(), SOL_SOCKET, SO_RCVBUF, &kSocketBuffer, sizeof kSocketBuffer);
  begin(std::move(socket));
  link_up();
}

bool StreamPort::peer_is_gone() const {
  pollfd end{fd_.get(), POLLRDHUP, 0};
  return ::poll(&end, 1, 0) == 1 && (end.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

void StreamPort::use_slab(std::size_t at_least) {
  bool is_free = link::Slab::is_free(slab_);
  std::size_t rest = slab_end_ - slab_begin_;
  if (rest == 0 && is_free) {
    slab_begin_ = slab_end_ = 0;
    return;
  }
  if (slab_ && link::kSlabBytes - slab_begin_ >= at_least && link::kSlabBytes - slab_end_ > 0)
    return;
  // The beginning of a frame that is not complete moves along.
  BufferRef next = is_free ? slab_ : link::Slab::make(link::kSlabBytes);
  if (rest > 0)
    std::memmove(link::Slab::memory(next), link::Slab::memory(slab_) + slab_begin_, rest);
  slab_ = std::move(next);
  slab_begin_ = 0;
  slab_end_ = rest;
}

bool StreamPort::read_frames() {
  use_slab(kLeastRoom);
  std::uint8_t* memory = link::Slab::memory(slab_);
  std::size_t room = link::kSlabBytes - slab_end_;
  ssize_t n = ::recv(fd_.get(), memory + slab_end_, room, MSG_DONTWAIT);
  if (n < 0) {
    if (errno != EAGAIN && errno != EINTR) close(std::strerror(errno));
    return false;
  }
  if (n == 0) {
    close("it closed the socket");
    return false;
  }
  slab_end_ += static_cast<std::size_t>(n);

  bool out_of_step = false;
  while (slab_end_ - slab_begin_ >= kLength) {
    std::size_t size = load_be32(memory + slab_begin_);
    out_of_step = size > link::kMaxFrame;
    if (out_of_step || slab_end_ - slab_begin_ - kLength < size) break;
    frames_.push_back({{memory + slab_begin_ + kLength, size}, slab_, false});
    slab_begin_ += kLength + size;
  }
  deliver();
  if (out_of_step) {
    ++counters_.tx_malformed;
    close("a frame's length is over 65550 bytes, so the stream is out of step");
  }
  return static_cast<std::size_t>(n) == room;
}

void StreamPort::write_queue() {
  while (!queue_.empty()) {
    iovec vector[kMaxIovecs];
    std::size_t count = 0, total = 0;
    for (std::size_t i = 0; i < queue_.frames(); ++i) {
      std::size_t pieces = queue_.gather(i, std::span(vector).subspan(count));
      if (pieces == 0) break;
      for (std::size_t end = count + pieces; count < end; ++count) total += vector[count].iov_len;
    }
    msghdr message{};
    message.msg_iov = vector;
    message.msg_iovlen = count;
    ssize_t n = ::sendmsg(fd_.get(), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN) return block(Until::writable);
      if (errno == ENOBUFS) return block(Until::moment);
      return close(std::strerror(errno));
    }
    queue_.pop_bytes(static_cast<std::size_t>(n));
    if (static_cast<std::size_t>(n) < total) return block(Until::writable);
  }
}

}  // namespace sluice::hostd
