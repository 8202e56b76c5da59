#include "agent/ports/socket_diag.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "base/log.h"
#include "base/number.h"

namespace sluice::agent {

namespace {

// States of the kernel's (include/net/tcp_states.h): UDP without a peer is in "close".
constexpr std::uint8_t kClose = 7;
constexpr std::uint8_t kListen = 10;
constexpr std::size_t kReadBytes = 32 * 1024;
constexpr int kMaxReads = 4096;
// The answer is there when send() returns; this only keeps a fault from hanging us.
constexpr timeval kAnswerTimeout{.tv_sec = 5, .tv_usec = 0};

std::uint8_t state_of(Protocol protocol) {
  return protocol == Protocol::tcp ? kListen : kClose;
}

}  // namespace

std::optional<OpenPort> parse_open_port(const NetlinkMessage& message, Protocol protocol) {
  inet_diag_msg fixed;
  if (message.type != SOCK_DIAG_BY_FAMILY || message.body.size() < sizeof fixed) {
    return std::nullopt;
  }
  std::memcpy(&fixed, message.body.data(), sizeof fixed);
  bool v4 = fixed.idiag_family == AF_INET;
  if ((!v4 && fixed.idiag_family != AF_INET6) || fixed.idiag_state != state_of(protocol) ||
      fixed.id.idiag_sport == 0 || fixed.id.idiag_dport != 0) {
    return std::nullopt;
  }
  const auto* source = reinterpret_cast<const std::uint8_t*>(fixed.id.idiag_src);
  OpenPort port;
  port.protocol = protocol;
  port.at.address = IpAddress::from_bytes({source, v4 ? std::size_t{4} : std::size_t{16}});
  port.at.port = Port(ntohs(fixed.id.idiag_sport));
  port.uid = fixed.idiag_uid;
  port.inode = fixed.idiag_inode;
  return port;
}

Result<SocketDiag> SocketDiag::open() {
  UniqueFd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
  if (!fd) return Status::from_errno(errno, "open a socket for sock_diag");
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &kAnswerTimeout, sizeof kAnswerTimeout);
  return SocketDiag(std::move(fd));
}

Result<SocketDiag> SocketDiag::open_in(const std::string& path) {
  UniqueFd there(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!there) return Status::from_errno(errno, "open " + path);
  UniqueFd here(::open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC));
  if (!here) return Status::from_errno(errno, "open /proc/self/ns/net");
  if (::setns(there.get(), CLONE_NEWNET) != 0) return Status::from_errno(errno, "enter " + path);
  auto opened = open();
  if (::setns(here.get(), CLONE_NEWNET) != 0) {
    log(LogLevel::error, "agent: can't leave {}", path);
    std::_Exit(1);
  }
  return opened;
}

Status SocketDiag::list(Family family, Protocol protocol, std::vector<OpenPort>& into) {
  inet_diag_req_v2 fixed{};
  fixed.sdiag_family = family == Family::v4 ? AF_INET : AF_INET6;
  fixed.sdiag_protocol = protocol == Protocol::tcp ? IPPROTO_TCP : IPPROTO_UDP;
  fixed.idiag_states = 1u << state_of(protocol);
  NetlinkRequest request(SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, fixed);
  std::uint32_t sequence = ++sequence_;
  ConstBytes bytes = request.finish(sequence);
  if (::send(fd_.get(), bytes.data(), bytes.size(), 0) < 0) {
    return Status::from_errno(errno, "ask sock_diag");
  }
  std::vector<std::uint8_t> buffer(kReadBytes);
  for (int reads = 0; reads < kMaxReads; ++reads) {
    ssize_t got = ::recv(fd_.get(), buffer.data(), buffer.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return Status::from_errno(errno, "read from sock_diag");
    NetlinkReader reader(ConstBytes(buffer).first(static_cast<std::size_t>(got)));
    while (auto message = reader.next()) {
      if (message->sequence != sequence) continue;
      if (message->type == NLMSG_DONE) return Status::ok();
      if (message->type == NLMSG_ERROR) {
        return Status::from_errno(parse_error(*message).error, "list sockets by sock_diag");
      }
      auto port = parse_open_port(*message, protocol);
      // What is beyond is read all the same, so that the next answer is not mixed with it.
      if (port && into.size() < kMaxPorts) into.push_back(*port);
    }
  }
  return Status(StatusCode::internal, "sock_diag's answer has no end");
}

Result<std::vector<OpenPort>> SocketDiag::list() {
  std::vector<OpenPort> ports;
  for (Family family : {Family::v4, Family::v6}) {
    if (Status status = list(family, Protocol::tcp, ports); !status && family == Family::v4) {
      return status;
    }
    [[maybe_unused]] Status without = list(family, Protocol::udp, ports);
  }
  return ports;
}

std::set<std::uint32_t> own_sockets() {
  std::set<std::uint32_t> inodes;
  std::unique_ptr<DIR, int (*)(DIR*)> fds(::opendir("/proc/self/fd"), ::closedir);
  while (dirent* entry = fds ? ::readdir(fds.get()) : nullptr) {
    constexpr std::string_view kPrefix = "socket:[";
    char target[64];
    ssize_t size = ::readlinkat(::dirfd(fds.get()), entry->d_name, target, sizeof target);
    std::string_view text(target, size > 0 ? static_cast<std::size_t>(size) : 0);
    if (!text.starts_with(kPrefix)) continue;
    text.remove_prefix(kPrefix.size());
    if (auto inode = parse_number<std::uint32_t>(text.substr(0, text.find(']')))) {
      inodes.insert(*inode);
    }
  }
  return inodes;
}

}  // namespace sluice::agent
