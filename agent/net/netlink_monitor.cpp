#include "agent/net/netlink_monitor.h"

#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <vector>

#include "agent/net/netlink_message.h"

namespace sluice::agent {
namespace {

// Notifications come one to a datagram; the largest tell of links with many attributes.
constexpr std::size_t kNewsBytes = 16 * 1024;
// Datagrams per turn of the loop, so that a storm of changes leaves room for others.
constexpr int kMaxNewsReads = 64;

constexpr std::array kGroups{RTNLGRP_LINK,       RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR,
                             RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE,  RTNLGRP_ND_USEROPT};

}  // namespace

Result<std::unique_ptr<NetlinkMonitor>> NetlinkMonitor::open(Loop& loop, OnChange on_change) {
  UniqueFd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE));
  sockaddr_nl local{};
  local.nl_family = AF_NETLINK;
  if (!fd || ::bind(fd.get(), reinterpret_cast<sockaddr*>(&local), sizeof local) != 0) {
    return Status::from_errno(errno, "open a netlink socket for changes");
  }
  for (int group : kGroups) {
    // A kernel without IPv6 knows fewer groups.
    ::setsockopt(fd.get(), SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof group);
  }
  int watched = fd.get();
  std::unique_ptr<NetlinkMonitor> monitor(new NetlinkMonitor(std::move(fd), std::move(on_change)));
  monitor->watch_ = loop.watch(watched, {.readable = true},
                               [self = monitor.get()](FdReady) { self->on_readable(); });
  if (!monitor->watch_) return Status(StatusCode::internal, "can't watch the netlink socket");
  return monitor;
}

void NetlinkMonitor::on_readable() {
  std::weak_ptr<bool> alive = alive_;
  std::vector<std::uint8_t> buffer(kNewsBytes);
  for (int reads = 0; reads < kMaxNewsReads; ++reads) {
    sockaddr_nl sender{};
    socklen_t sender_size = sizeof sender;
    ssize_t n = ::recvfrom(fd_.get(), buffer.data(), buffer.size(), MSG_TRUNC,
                           reinterpret_cast<sockaddr*>(&sender), &sender_size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return;
    // ENOBUFS, or a message longer than the buffer.
    if (n < 0 || static_cast<std::size_t>(n) > buffer.size()) {
      on_change_(ChangesLost{});
      if (alive.expired()) return;
      continue;
    }
    if (sender.nl_pid != 0) continue;
    NetlinkReader reader(ConstBytes(buffer).first(static_cast<std::size_t>(n)));
    while (auto message = reader.next()) {
      auto changed = parse_change(*message);
      if (!changed) continue;
      on_change_(*changed);
      if (alive.expired()) return;
    }
  }
}

}  // namespace sluice::agent
