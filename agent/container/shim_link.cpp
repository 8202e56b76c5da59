#include "agent/container/shim_link.h"

#include <sys/socket.h>
#include <sys/uio.h>

#include <array>
#include <cerrno>

#include "agent/container/unix_socket.h"

namespace sluice::agent {

Result<std::unique_ptr<ShimLink>> ShimLink::connect(Loop& loop, const std::string& path,
                                                    Events events) {
  auto address = unix_address(path);
  if (!address) return address.status();
  UniqueFd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd || ::connect(fd.get(), reinterpret_cast<sockaddr*>(&*address), sizeof *address) != 0) {
    return Status::from_errno(errno, "connect to " + path);
  }
  std::unique_ptr<ShimLink> link(new ShimLink(std::move(fd), std::move(events)));
  link->watch_ = loop.watch(link->fd_.get(), {.readable = true},
                            [raw = link.get()](FdReady ready) { raw->on_ready(ready); });
  return link;
}

bool ShimLink::send(ShimWord word, ConstBytes rest) {
  auto first = static_cast<std::uint8_t>(word);
  std::array<iovec, 2> parts{{{&first, 1}, {const_cast<std::uint8_t*>(rest.data()), rest.size()}}};
  msghdr message{};
  message.msg_iov = parts.data();
  message.msg_iovlen = parts.size();
  ssize_t sent;
  do {
    sent = ::sendmsg(fd_.get(), &message, MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  if (sent >= 0 || (errno != EAGAIN && errno != ENOBUFS)) return true;
  wants_room_ = true;
  watch_->set_interest({.readable = true, .writable = true});
  return false;
}

void ShimLink::on_ready(FdReady ready) {
  if (ready.writable && wants_room_) {
    wants_room_ = false;
    watch_->set_interest({.readable = true});
    if (events_.on_room) events_.on_room();
    return;
  }
  if (!ready.readable) return;
  std::array<std::uint8_t, 64> message{};
  ssize_t got = ::recv(fd_.get(), message.data(), message.size(), 0);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got <= 0) {
    watch_.reset();
    auto on_end = events_.on_end;
    if (on_end) on_end();
    return;
  }
  auto on_word = events_.on_word;
  if (on_word) {
    on_word(static_cast<ShimWord>(message[0]),
            ConstBytes(message).subspan(1, static_cast<std::size_t>(got) - 1));
  }
}

}  // namespace sluice::agent
