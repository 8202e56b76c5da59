#include "hostd/attach/dgram_port.h"

#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>

#include "base/log.h"
#include "link/slab.h"

namespace sluice::hostd {

namespace {

/// Of a message: the largest frame, and a stride that does not lead to the same cache lines.
constexpr std::size_t kSlot = 65600;
static_assert(kSlot > link::kMaxFrame);
/// libkrun asks for as much.
constexpr int kSocketBuffer = 7 << 20;
/// How long a client that went is taken to be there, if nothing else tells.
constexpr Duration kCheckEvery = std::chrono::seconds(1);
constexpr std::size_t kEthernet = 14;
constexpr std::uint8_t kHello[] = {'V', 'F', 'K', 'T'};

bool is_hello(ConstBytes message) {
  return std::equal(message.begin(), message.end(), std::begin(kHello), std::end(kHello));
}

/// As people write it; an abstract name has an @ for its zero.
std::string to_text(const sockaddr_un& address, socklen_t size) {
  std::string text(address.sun_path, size - offsetof(sockaddr_un, sun_path));
  if (!text.empty() && text[0] == '\0') {
    text[0] = '@';
  } else {
    text.resize(std::strlen(text.c_str()));
  }
  return text;
}

/// A socket connected to `address`; none, with errno, where that fails.
UniqueFd connect_to(const sockaddr_un& address, socklen_t size) {
  UniqueFd fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (fd && ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), size) != 0) {
    int error = errno;
    fd.reset();
    errno = error;
  }
  return fd;
}

/// EPERM, for one, says that somebody is there who is connected to another socket, such as ours.
bool is_alive(const sockaddr_un& address, socklen_t size) {
  return connect_to(address, size) ||
         (errno != ECONNREFUSED && errno != ENOENT && errno != EPROTOTYPE);
}

}  // namespace

/// What recvmmsg() fills.
struct DgramPort::Incoming {
  mmsghdr messages[kReadBatch];
  iovec pieces[kReadBatch];
  sockaddr_un senders[kReadBatch];
};

/// What sendmmsg() takes.
struct DgramPort::Outgoing {
  mmsghdr messages[kWriteBatch];
  iovec pieces[kMaxIovecs];
};

void size_message_buffers(int fd) {
  for (auto [forced, asked] : {std::pair{SO_SNDBUFFORCE, SO_SNDBUF}, {SO_RCVBUFFORCE, SO_RCVBUF}}) {
    if (::setsockopt(fd, SOL_SOCKET, forced, &kSocketBuffer, sizeof kSocketBuffer) != 0) {
      ::setsockopt(fd, SOL_SOCKET, asked, &kSocketBuffer, sizeof kSocketBuffer);
    }
  }
}

DgramPort::DgramPort(Loop& loop, UniqueFd socket, Peer peer)
    : FdPort(loop, FrameQueue::Prefix::none),
      peer_(peer),
      check_timer_(loop.make_timer([this] { check_client(); })),
      incoming_(std::make_unique<Incoming>()),
      outgoing_(std::make_unique<Outgoing>()) {
  int type = 0;
  socklen_t size = sizeof type;
  ::getsockopt(socket.get(), SOL_SOCKET, SO_TYPE, &type, &size);
  is_seqpacket_ = type == SOCK_SEQPACKET;
  begin(std::move(socket));
  if (peer_ == Peer::connected) link_up();
}

DgramPort::~DgramPort() {
  waiter_watch_.reset();
}

std::size_t DgramPort::max_mtu() const {
  // Linux refuses a message that is larger than the send buffer less 32 bytes.
  int buffer = 0;
  socklen_t size = sizeof buffer;
  if (::getsockopt(fd_.get(), SOL_SOCKET, SO_SNDBUF, &buffer, &size) != 0) return FdPort::max_mtu();
  std::size_t most = static_cast<std::size_t>(std::max(buffer, 1500)) - 32 - kEthernet;
  return std::min(FdPort::max_mtu(), most);
}

bool DgramPort::read_frames() {
  if (!link::Slab::is_free(slab_)) slab_ = link::Slab::make(kReadBatch * kSlot);
  std::uint8_t* memory = link::Slab::memory(slab_);
  for (std::size_t i = 0; i < kReadBatch; ++i) {
    incoming_->pieces[i] = {memory + i * kSlot, kSlot};
    msghdr& header = incoming_->messages[i].msg_hdr;
    header = {};
    header.msg_iov = &incoming_->pieces[i];
    header.msg_iovlen = 1;
    if (peer_ == Peer::connected) continue;
    header.msg_name = &incoming_->senders[i];
    header.msg_namelen = sizeof incoming_->senders[i];
  }
  int n = ::recvmmsg(fd_.get(), incoming_->messages, kReadBatch, MSG_DONTWAIT, nullptr);
  if (n < 0) {
    // Of a bound socket, an error is about a client; the next one is welcome.
    if (errno != EAGAIN && errno != EINTR && peer_ == Peer::connected) close(std::strerror(errno));
    return false;
  }
  stranger_probed_ = false;
  for (int i = 0; i < n; ++i) {
    const mmsghdr& message = incoming_->messages[i];
    std::size_t size = message.msg_len;
    if (peer_ == Peer::learnt &&
        !is_from_client(incoming_->senders[i], message.msg_hdr.msg_namelen)) {
      continue;
    }
    if (size == 0 && is_seqpacket_) {
      pollfd end{fd_.get(), POLLRDHUP, 0};
      if (::poll(&end, 1, 0) == 1 && (end.revents & (POLLRDHUP | POLLHUP)) != 0) {
        deliver();
        close("it closed the socket");
        return false;
      }
    }
    Bytes bytes(memory + static_cast<std::size_t>(i) * kSlot, size);
    if (size > link::kMaxFrame || (message.msg_hdr.msg_flags & MSG_TRUNC) != 0) {
      ++counters_.tx_malformed;
    } else if (!is_hello(bytes)) {
      frames_.push_back({bytes, slab_, false});
    }
  }
  deliver();
  return n == static_cast<int>(kReadBatch);
}

bool DgramPort::is_from_client(const sockaddr_un& sender, socklen_t size) {
  if (size == client_size_ && client_size_ > 0 && std::memcmp(&sender, &client_, size) == 0) {
    return true;
  }
  auto report = [&](const std::string& who, const char* why) {
    if (!std::exchange(stranger_reported_, true)) log(LogLevel::warn, "{} {}", who, why);
  };
  if (size <= offsetof(sockaddr_un, sun_path)) {
    report("a client", "that has bound no address was ignored: nothing could be sent to it");
    return false;
  }
  if (client_size_ > 0) {
    if (std::exchange(stranger_probed_, true) || is_alive(client_, client_size_)) {
      report(to_text(sender, size), "was ignored: this hostd serves one guest");
      return false;
    }
    deliver();
    lose_client("another came in its place");
  }
  client_ = sender;
  client_size_ = size;
  stranger_reported_ = denial_reported_ = false;
  log(LogLevel::info, "guest's end is {}", to_text(client_, client_size_));
  check_timer_->start(kCheckEvery);
  link_up();
  return true;
}

void DgramPort::check_client() {
  if (client_size_ == 0) return;
  if (!is_alive(client_, client_size_)) return lose_client("its socket is gone");
  check_timer_->start(kCheckEvery);
}

void DgramPort::lose_client(const char* why) {
  if (peer_ == Peer::connected) return close(why);
  client_size_ = 0;
  check_timer_->stop();
  waiter_watch_.reset();
  waiter_.reset();
  link_down(why);
}

void DgramPort::write_queue() {
  while (!queue_.empty()) {
    std::size_t count = 0, pieces = 0, most = std::min(kWriteBatch, queue_.frames());
    for (; count < most; ++count) {
      std::size_t n = queue_.gather(count, std::span(outgoing_->pieces).subspan(pieces));
      if (n == 0) break;
      msghdr& header = outgoing_->messages[count].msg_hdr;
      header = {};
      header.msg_iov = &outgoing_->pieces[pieces];
      header.msg_iovlen = n;
      if (client_size_ > 0) {
        header.msg_name = &client_;
        header.msg_namelen = client_size_;
      }
      pieces += n;
    }
    int sent = ::sendmmsg(fd_.get(), outgoing_->messages, static_cast<unsigned>(count),
                          MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent > 0) {
      woken_in_vain_ = false;
      queue_.pop(static_cast<std::size_t>(sent));
      continue;
    }
    switch (errno) {
      case EINTR:
        break;
      case EAGAIN:
        return wait_for_room();
      case ENOBUFS:
      case ENOMEM:
        return block(Until::moment);
      case EMSGSIZE:
        ++counters_.rx_lost;
        queue_.pop(1);
        break;
      case EACCES:
        // It may yet be allowed: a VMM binds its socket before it changes the mode.
        if (!std::exchange(denial_reported_, true)) {
          log(LogLevel::warn,
              "not allowed to write to {}: let its owner allow it, or run hostd as the client's "
              "user (--runas)",
              to_text(client_, client_size_));
        }
        ++counters_.rx_lost;
        queue_.pop(1);
        break;
      default:
        return lose_client(std::strerror(errno));
    }
  }
}

void DgramPort::wait_for_room() {
  pollfd ours{fd_.get(), POLLOUT, 0};
  if (::poll(&ours, 1, 0) == 0) return block(Until::writable);
  // Both can be written to, and still nothing could be sent: no reason to spin.
  if (woken_in_vain_ || !watch_client_queue()) return block(Until::moment);
  woken_in_vain_ = true;
  block(Until::told);
}

bool DgramPort::watch_client_queue() {
  if (client_size_ == 0) return false;
  if (!waiter_) {
    waiter_ = connect_to(client_, client_size_);
    if (!waiter_) return false;
    waiter_watch_ = loop_.watch(waiter_.get(), {}, [this](FdReady) {
      waiter_watch_->set_interest({});
      unblock();
    });
  }
  if (!waiter_watch_) return false;
  waiter_watch_->set_interest({.readable = false, .writable = true});
  return true;
}

}  // namespace sluice::hostd
