#include "base/posix_datagram.h"

#include <linux/errqueue.h>
#include <netinet/udp.h>
#include <sys/epoll.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <numeric>

#include "base/pieces.h"
#include "base/posix_address.h"

namespace sluice {

namespace {

/// An ICMP error quotes up to 1232 (IPv6) or 548 (IPv4) bytes of what caused it; what is passed on
/// needs no more.
constexpr std::size_t kQuoteSize = 1280;
/// A call fails once for each error that arrived since, before it does its work.
constexpr int kErrorRetries = 4;

/// A full queue or no memory; every other error may belong to an earlier datagram.
bool no_room(int error) {
  return error == EAGAIN || error == ENOBUFS || error == ENOMEM;
}

/// Before Linux 4.18 the kernel takes no notice of UDP_SEGMENT with a message, and sends it uncut.
bool kernel_cuts(int fd) {
  int size;
  socklen_t length = sizeof size;
  return ::getsockopt(fd, SOL_UDP, UDP_SEGMENT, &size, &length) == 0;
}

/// A way on which nobody sums, or one of a smaller MTU.
bool cannot_cut(int error) {
  return error == EINVAL || error == EIO || error == EMSGSIZE;
}

/// How many datagrams the kernel can make of one message: those to the same peer of the same size,
/// the last of which may be smaller.
std::size_t count_cut(std::span<const OutDatagram> datagrams) {
  // What is left of a packet for the payload, whatever the family.
  constexpr std::size_t kMostBytes = 65535 - 60 - 8;
  std::size_t size = total_size(datagrams[0].data);
  if (size == 0 || size > DatagramBatch::kMostCutSize) return 1;
  std::size_t most = std::min({datagrams.size(), DatagramBatch::kMostCut, kMostBytes / size});
  std::size_t count = 1;
  while (count < most && datagrams[count].peer == datagrams[0].peer) {
    std::size_t next = total_size(datagrams[count].data);
    if (next == 0 || next > size) break;
    ++count;
    if (next < size) break;
  }
  return count;
}

/// What the kernel says of a message: of joined datagrams each but the last, which may be smaller,
/// has joined_size.
struct About {
  std::uint8_t ttl = InDatagram().ttl;
  std::size_t joined_size = DatagramBatch::kMessageSize;
};

About about(msghdr& header) {
  About out;
  for (cmsghdr* c = CMSG_FIRSTHDR(&header); c; c = CMSG_NXTHDR(&header, c)) {
    bool is_ttl = (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TTL) ||
                  (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_HOPLIMIT);
    bool is_joined = c->cmsg_level == SOL_UDP && c->cmsg_type == UDP_GRO;
    int value;
    if ((!is_ttl && !is_joined) || c->cmsg_len < CMSG_LEN(sizeof value)) continue;
    std::memcpy(&value, CMSG_DATA(c), sizeof value);
    if (is_ttl) out.ttl = static_cast<std::uint8_t>(value);
    if (is_joined && value > 0) out.joined_size = static_cast<std::size_t>(value);
  }
  return out;
}

/// A burst has to fit while this process waits for its turn; the kernel takes the memory only when
/// datagrams are there, and silently bounds it by net.core.[rw]mem_max.
void enlarge_buffers(int fd) {
  constexpr int kBytes = 2 << 20;
  set_option(fd, SOL_SOCKET, SO_RCVBUF, kBytes);
  set_option(fd, SOL_SOCKET, SO_SNDBUF, kBytes);
}

void ask_for_errors(int fd, Family family) {
  if (family == Family::v4) {
    set_option(fd, IPPROTO_IP, IP_RECVERR, 1);
  } else {
    set_option(fd, IPPROTO_IPV6, IPV6_RECVERR, 1);
  }
}

void ask_for_ttl(int fd, Family family) {
  if (family == Family::v4) {
    set_option(fd, IPPROTO_IP, IP_RECVTTL, 1);
  } else {
    set_option(fd, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 1);
  }
}

Result<UniqueFd> open_socket(Family family) {
  UniqueFd fd(
      ::socket(address_family(family), SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_UDP));
  if (!fd) return Status::from_errno(errno, "open a UDP socket");
  return fd;
}

/// Fills in what the extended error says (ip(7), IP_RECVERR).
void read_extended_error(msghdr& header, SocketError& error) {
  for (cmsghdr* c = CMSG_FIRSTHDR(&header); c; c = CMSG_NXTHDR(&header, c)) {
    bool v4 = c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_RECVERR;
    bool v6 = c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_RECVERR;
    if (!v4 && !v6) continue;
    sock_extended_err extended;
    if (c->cmsg_len < CMSG_LEN(sizeof extended)) continue;
    std::memcpy(&extended, CMSG_DATA(c), sizeof extended);
    error.error = static_cast<int>(extended.ee_errno);
    if (error.error == EMSGSIZE) error.mtu = extended.ee_info;
    if (extended.ee_origin != SO_EE_ORIGIN_ICMP && extended.ee_origin != SO_EE_ORIGIN_ICMP6) {
      continue;
    }
    error.icmp_type = extended.ee_type;
    error.icmp_code = extended.ee_code;
    std::size_t address_size = v4 ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
    if (c->cmsg_len < CMSG_LEN(sizeof extended + address_size)) continue;
    sockaddr_storage offender{};
    std::memcpy(&offender, CMSG_DATA(c) + sizeof extended, address_size);
    if (auto endpoint = to_endpoint(reinterpret_cast<sockaddr*>(&offender))) {
      error.offender = endpoint->address;
    }
  }
}

}  // namespace

DatagramBatch::DatagramBatch()
    : memory_(std::make_unique_for_overwrite<std::uint8_t[]>(kReceived * kMessageSize)) {
  for (std::size_t i = 0; i < kReceived; ++i) {
    pieces_[i] = {memory_.get() + i * kMessageSize, kMessageSize};
  }
}

int DatagramBatch::receive(int fd, std::size_t most) {
  for (std::size_t i = 0; i < used_; ++i) {
    msghdr& header = messages_[i].msg_hdr;
    header = {};
    header.msg_name = &peers_[i];
    header.msg_namelen = sizeof peers_[i];
    header.msg_iov = &pieces_[i];
    header.msg_iovlen = 1;
    header.msg_control = controls_[i].bytes.data();
    header.msg_controllen = controls_[i].bytes.size();
  }
  int n = ::recvmmsg(fd, messages_.data(), static_cast<unsigned>(most), MSG_DONTWAIT, nullptr);
  // The kernel may have begun with the one at which it stopped.
  used_ = std::min(static_cast<std::size_t>(std::max(n, 0)) + 1, kReceived);
  return n;
}

std::span<const InDatagram> DatagramBatch::datagrams(int count) {
  datagrams_.clear();
  has_joined_ = false;
  for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i) {
    auto peer = to_endpoint(reinterpret_cast<const sockaddr*>(&peers_[i]));
    if (!peer) continue;
    auto [ttl, joined_size] = about(messages_[i].msg_hdr);
    ConstBytes rest(memory_.get() + i * kMessageSize, messages_[i].msg_len);
    for (; rest.size() > joined_size; rest = rest.subspan(joined_size)) {
      has_joined_ = true;
      datagrams_.push_back({.peer = *peer, .data = rest.first(joined_size), .ttl = ttl});
    }
    datagrams_.push_back({.peer = *peer, .data = rest, .ttl = ttl});
  }
  return datagrams_;
}

int DatagramBatch::send(int fd, std::span<const OutDatagram> datagrams, bool cut) {
  // No datagram has more than a few pieces; the vector keeps its room.
  std::size_t pieces = 0;
  for (const OutDatagram& one : datagrams.first(std::min(datagrams.size(), kMessages))) {
    pieces += one.data.size();
  }
  out_pieces_.clear();
  out_pieces_.reserve(pieces);
  has_cut_ = false;
  std::size_t messages = 0, taken = 0;
  // As many datagrams as messages at most, so that the pieces have room and stay where they are.
  std::size_t most = std::min(datagrams.size(), kMessages);
  while (taken < most) {
    std::size_t count = cut ? count_cut(datagrams.subspan(taken, most - taken)) : 1;
    const OutDatagram& first = datagrams[taken];
    msghdr& header = out_messages_[messages].msg_hdr;
    header = {};
    out_peers_[messages] = SocketAddress(first.peer, link);
    header.msg_name = out_peers_[messages].get();
    header.msg_namelen = out_peers_[messages].size();
    header.msg_iov = out_pieces_.data() + out_pieces_.size();
    for (const OutDatagram& one : datagrams.subspan(taken, count)) {
      out_pieces_.insert(out_pieces_.end(), one.data.begin(), one.data.end());
    }
    header.msg_iovlen =
        static_cast<std::size_t>(out_pieces_.data() + out_pieces_.size() - header.msg_iov);
    if (count > 1) {
      has_cut_ |= messages == 0;
      header.msg_control = out_controls_[messages].bytes.data();
      header.msg_controllen = out_controls_[messages].bytes.size();
      cmsghdr* control = CMSG_FIRSTHDR(&header);
      control->cmsg_level = SOL_UDP;
      control->cmsg_type = UDP_SEGMENT;
      control->cmsg_len = CMSG_LEN(sizeof(std::uint16_t));
      auto size = static_cast<std::uint16_t>(total_size(first.data));
      std::memcpy(CMSG_DATA(control), &size, sizeof size);
    }
    out_counts_[messages++] = count;
    taken += count;
  }
  int n = ::sendmmsg(fd, out_messages_.data(), static_cast<unsigned>(messages), MSG_NOSIGNAL);
  if (n < 0) return n;
  return static_cast<int>(
      std::accumulate(out_counts_.begin(), out_counts_.begin() + n, std::size_t{0}));
}

Result<std::unique_ptr<DatagramSocket>> PosixDatagram::start(
    std::unique_ptr<PosixDatagram> socket) {
  enlarge_buffers(socket->source_.fd());
  ask_for_errors(socket->source_.fd(), socket->family_);
  ask_for_ttl(socket->source_.fd(), socket->family_);
  if (Status status = socket->source_.start(EPOLLIN); !status) return status;
  return std::unique_ptr<DatagramSocket>(std::move(socket));
}

Result<std::unique_ptr<DatagramSocket>> PosixDatagram::udp(Poller& poller, DatagramBatch& batch,
                                                           const Endpoint& at) {
  Family family = at.address.family();
  auto fd = open_socket(family);
  if (!fd) return fd.status();
  if (family == Family::v6) set_option(fd->get(), IPPROTO_IPV6, IPV6_V6ONLY, 1);
  SocketAddress address(at);
  if (::bind(fd->get(), address.get(), address.size()) != 0) {
    return Status::from_errno(errno, "bind UDP " + at.to_string());
  }
  auto socket = std::make_unique<PosixDatagram>(poller, batch, std::move(*fd), family);
  socket->cut_ = kernel_cuts(socket->source_.fd());
  // From Linux 5.0 on; without it each comes alone.
  set_option(socket->source_.fd(), SOL_UDP, UDP_GRO, 1);
  return start(std::move(socket));
}

Result<std::unique_ptr<DatagramSocket>> PosixDatagram::query(Poller& poller, DatagramBatch& batch,
                                                             Family family) {
  auto fd = open_socket(family);
  if (!fd) return fd.status();
  ask_for_errors(fd->get(), family);
  auto socket = std::make_unique<PosixDatagram>(poller, batch, std::move(*fd), family);
  if (Status status = socket->source_.start(EPOLLIN); !status) return status;
  return std::unique_ptr<DatagramSocket>(std::move(socket));
}

Result<std::unique_ptr<DatagramSocket>> PosixDatagram::ping(Poller& poller, DatagramBatch& batch,
                                                            Family family) {
  int protocol = family == Family::v4 ? int{IPPROTO_ICMP} : int{IPPROTO_ICMPV6};
  UniqueFd fd(
      ::socket(address_family(family), SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol));
  if (!fd) {
    return Status::from_errno(errno, "open a ping socket (see net.ipv4.ping_group_range)");
  }
  return start(std::make_unique<PosixDatagram>(poller, batch, std::move(fd), family));
}

IoResult PosixDatagram::send_batch(std::span<const OutDatagram> datagrams) {
  std::size_t sent = 0;
  int retries = kErrorRetries;
  bool was_too_long = false;
  while (sent < datagrams.size()) {
    int n = batch_.send(source_.fd(), datagrams.subspan(sent), cut_);
    if (n > 0) {
      sent += static_cast<std::size_t>(n);
      retries = kErrorRetries;
      continue;
    }
    int error = errno;
    if (batch_.has_cut() && cannot_cut(error)) {
      // The first may be what an ICMP error said of an earlier datagram.
      if (error != EMSGSIZE || was_too_long) cut_ = false;
      was_too_long = true;
      continue;
    }
    // The error may be an ICMP error for an earlier datagram; this failure has cleared it, and its
    // details stay in the error queue.
    if (!no_room(error) && retries-- > 0) continue;
    if (error == EAGAIN) source_.await_room();
    if (sent > 0) break;
    return {.error = error};
  }
  return {.bytes = sent};
}

InBatch PosixDatagram::receive_batch() {
  for (int i = 0; i <= kErrorRetries; ++i) {
    std::size_t most = most_received_;
    int n = batch_.receive(source_.fd(), most);
    if (n > 0) {
      InBatch batch{.datagrams = batch_.datagrams(n),
                    .drained = static_cast<std::size_t>(n) < most};
      most_received_ =
          batch_.has_joined() ? DatagramBatch::kJoinedReceived : DatagramBatch::kReceived;
      return batch;
    }
    if (n == 0 || errno == EAGAIN) break;
  }
  return {};
}

std::optional<SocketError> PosixDatagram::take_queued_error() {
  SocketError error;
  error.payload.resize(kQuoteSize);
  sockaddr_storage destination{};
  alignas(cmsghdr) std::array<std::uint8_t, 512> control;
  iovec piece{error.payload.data(), error.payload.size()};
  msghdr header{};
  header.msg_name = &destination;
  header.msg_namelen = sizeof destination;
  header.msg_iov = &piece;
  header.msg_iovlen = 1;
  header.msg_control = control.data();
  header.msg_controllen = control.size();
  ssize_t n = ::recvmsg(source_.fd(), &header, MSG_ERRQUEUE | MSG_DONTWAIT);
  if (n < 0) return std::nullopt;
  error.payload.resize(static_cast<std::size_t>(n));
  if (auto to = to_endpoint(reinterpret_cast<sockaddr*>(&destination))) error.destination = *to;
  read_extended_error(header, error);
  return error;
}

void PosixDatagram::set_ttl(std::uint8_t ttl) {
  if (ttl_ == ttl || ttl == 0) return;
  bool done = family_ == Family::v4
                  ? set_option(source_.fd(), IPPROTO_IP, IP_TTL, ttl)
                  : set_option(source_.fd(), IPPROTO_IPV6, IPV6_UNICAST_HOPS, ttl);
  if (done) ttl_ = ttl;
}

std::optional<Endpoint> PosixDatagram::local() const {
  return local_endpoint(source_.fd());
}

}  // namespace sluice
