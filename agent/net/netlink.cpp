#include "agent/net/netlink.h"

#include <fmt/format.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <cerrno>

namespace sluice::agent {
namespace {

// The kernel fills at most this much per read of a dump (NLMSG_GOODSIZE grows up to 32 KiB).
constexpr std::size_t kAnswerBytes = 32 * 1024;
// Bounds what is read of one answer: 128 MiB of routes.
constexpr int kMaxAnswerReads = 4096;
// A dump that keeps being overtaken by changes is taken as it is after so many tries.
constexpr int kMaxDumps = 8;
// The answer is there when send() returns; this only keeps a fault from hanging us.
constexpr timeval kAnswerTimeout{.tv_sec = 5, .tv_usec = 0};

std::uint8_t family_number(const IpAddress& address) {
  return address.is_v4() ? AF_INET : AF_INET6;
}

Status check_name(std::string_view name) {
  bool good = !name.empty() && name.size() < IFNAMSIZ && name != "." && name != ".." &&
              name.find_first_of(std::string_view("/ :\0", 4)) == std::string_view::npos;
  if (good) return Status::ok();
  return Status(
      StatusCode::invalid_argument,
      fmt::format("\"{}\" is no interface name: 1 to 15 bytes without '/', ':' and space", name));
}

Status to_status(const NetlinkError& error, std::string_view what) {
  if (error.error == 0) return Status::ok();
  Status status = Status::from_errno(error.error, what);
  // What the kernel says of a route that isn't there.
  StatusCode code = error.error == ESRCH ? StatusCode::not_found : status.code();
  if (error.message.empty()) return Status(code, status.message());
  return Status(code, fmt::format("{} ({})", status.message(), error.message));
}

constexpr std::uint16_t kCreate = NLM_F_CREATE | NLM_F_EXCL;
constexpr std::uint16_t kReplace = NLM_F_CREATE | NLM_F_REPLACE;

NetlinkRequest address_request(const InterfaceAddress& address, std::uint16_t type,
                               std::uint16_t flags) {
  ifaddrmsg fixed{};
  fixed.ifa_family = family_number(address.address);
  fixed.ifa_prefixlen = static_cast<std::uint8_t>(address.prefix_length);
  fixed.ifa_index = static_cast<std::uint32_t>(address.link);
  NetlinkRequest request(type, flags, fixed);
  request.add_address(IFA_LOCAL, address.address);
  request.add_address(IFA_ADDRESS, address.peer.value_or(address.address));
  return request;
}

std::uint32_t lifetime(std::chrono::seconds time) {
  return static_cast<std::uint32_t>(std::clamp<std::int64_t>(time.count(), 1, kForever.count()));
}

}  // namespace

std::string to_string(const InterfaceAddress& address) {
  return fmt::format("{}/{}", address.address.to_string(), address.prefix_length);
}

std::string to_string(const Route& route) {
  if (!route.gateway) return fmt::format("{} on the link", route.destination.to_string());
  return fmt::format("{} via {}", route.destination.to_string(), route.gateway->to_string());
}

Result<Netlink> Netlink::open() {
  UniqueFd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  sockaddr_nl local{};
  local.nl_family = AF_NETLINK;
  if (!fd || ::bind(fd.get(), reinterpret_cast<sockaddr*>(&local), sizeof local) != 0) {
    return Status::from_errno(errno, "open a netlink socket");
  }
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &kAnswerTimeout, sizeof kAnswerTimeout);
  // Kernels that know neither give shorter errors.
  int on = 1;
  ::setsockopt(fd.get(), SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof on);
  ::setsockopt(fd.get(), SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof on);
  return Netlink(std::move(fd));
}

Result<std::vector<std::uint8_t>> Netlink::read_answer() {
  std::vector<std::uint8_t> buffer(kAnswerBytes);
  sockaddr_nl sender{};
  iovec data{.iov_base = buffer.data(), .iov_len = buffer.size()};
  msghdr message{};
  message.msg_name = &sender;
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  while (true) {
    message.msg_namelen = sizeof sender;
    ssize_t n = ::recvmsg(fd_.get(), &message, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      int error = errno == EAGAIN ? ETIMEDOUT : errno;
      return Status::from_errno(error, "read the kernel's answer");
    }
    // Any process may send to this socket; only the kernel has port 0.
    if (sender.nl_pid != 0) continue;
    if ((message.msg_flags & MSG_TRUNC) != 0) {
      return Status(StatusCode::internal, "the kernel's answer is longer than its limit");
    }
    buffer.resize(static_cast<std::size_t>(n));
    return buffer;
  }
}

Netlink::Outcome Netlink::exchange(NetlinkRequest& request, const Visit& visit) {
  std::uint32_t sequence = ++sequence_;
  ConstBytes bytes = request.finish(sequence);
  while (::send(fd_.get(), bytes.data(), bytes.size(), 0) < 0) {
    if (errno != EINTR) return {{errno, {}}};
  }
  Outcome outcome;
  for (int reads = 0; reads < kMaxAnswerReads; ++reads) {
    auto answer = read_answer();
    if (!answer) return {{EPROTO, answer.status().message()}};
    NetlinkReader reader(*answer);
    while (auto message = reader.next()) {
      // Of an earlier exchange that ended before its answer did.
      if (message->sequence != sequence) continue;
      outcome.overtaken = outcome.overtaken || (message->flags & NLM_F_DUMP_INTR) != 0;
      if (message->type == NLMSG_ERROR || message->type == NLMSG_DONE) {
        outcome.error = parse_error(*message);
        return outcome;
      }
      visit(*message);
    }
  }
  return {{EOVERFLOW, {}}};
}

Status Netlink::change(NetlinkRequest request, std::string_view what) {
  return to_status(exchange(request, [](const NetlinkMessage&) {}).error, what);
}

/// Everything that `parse` understands of what the kernel lists.
template <typename T, typename Fixed, typename Parse>
Result<std::vector<T>> Netlink::dump(std::uint16_t type, const Fixed& fixed, std::string_view what,
                                     Parse parse) {
  std::vector<T> list;
  for (int tries = 0; tries < kMaxDumps; ++tries) {
    list.clear();
    NetlinkRequest request(type, NLM_F_DUMP, fixed);
    Outcome outcome = exchange(request, [&](const NetlinkMessage& message) {
      if (auto value = parse(message)) list.push_back(std::move(*value));
    });
    if (outcome.error.error != 0) return to_status(outcome.error, what);
    if (!outcome.overtaken) break;
  }
  return list;
}

Result<std::vector<Link>> Netlink::links() {
  return dump<Link>(RTM_GETLINK, ifinfomsg{}, "list the links", parse_link);
}

Result<Link> Netlink::find_link(NetlinkRequest request, std::string_view what) {
  std::optional<Link> found;
  Outcome outcome =
      exchange(request, [&](const NetlinkMessage& message) { found = parse_link(message); });
  if (outcome.error.error != 0) return to_status(outcome.error, what);
  if (!found) return Status(StatusCode::internal, fmt::format("{}: no link in the answer", what));
  return std::move(*found);
}

Result<Link> Netlink::link(int index) {
  ifinfomsg fixed{};
  fixed.ifi_index = index;
  return find_link(NetlinkRequest(RTM_GETLINK, NLM_F_ACK, fixed),
                   fmt::format("look for link {}", index));
}

Result<Link> Netlink::link(std::string_view name) {
  if (Status status = check_name(name); !status) return status;
  NetlinkRequest request(RTM_GETLINK, NLM_F_ACK, ifinfomsg{});
  request.add_text(IFLA_IFNAME, name);
  return find_link(std::move(request), fmt::format("look for link {}", name));
}

Status Netlink::change_link(int index, std::string_view what,
                            const std::function<void(NetlinkRequest&)>& fill) {
  ifinfomsg fixed{};
  fixed.ifi_index = index;
  NetlinkRequest request(RTM_NEWLINK, NLM_F_ACK, fixed);
  fill(request);
  return change(std::move(request), fmt::format("{} of link {}", what, index));
}

Status Netlink::set_state(int index, LinkState state) {
  ifinfomsg fixed{};
  fixed.ifi_index = index;
  fixed.ifi_change = IFF_UP;
  fixed.ifi_flags = state == LinkState::up ? IFF_UP : 0;
  return change(NetlinkRequest(RTM_NEWLINK, NLM_F_ACK, fixed),
                fmt::format("bring link {} {}", index, state == LinkState::up ? "up" : "down"));
}

Status Netlink::set_mtu(int index, std::uint32_t mtu) {
  return change_link(index, fmt::format("set the MTU {}", mtu),
                     [&](NetlinkRequest& request) { request.add32(IFLA_MTU, mtu); });
}

Status Netlink::set_name(int index, std::string_view name) {
  if (Status status = check_name(name); !status) return status;
  return change_link(index, fmt::format("set the name {}", name),
                     [&](NetlinkRequest& request) { request.add_text(IFLA_IFNAME, name); });
}

Status Netlink::set_bridge(int index, int bridge) {
  return change_link(index, fmt::format("set the bridge {}", bridge), [&](NetlinkRequest& request) {
    request.add32(IFLA_MASTER, static_cast<std::uint32_t>(bridge));
  });
}

Status Netlink::move_to_namespace(int index, int namespace_fd) {
  return change_link(index, "change the network namespace", [&](NetlinkRequest& request) {
    request.add32(IFLA_NET_NS_FD, static_cast<std::uint32_t>(namespace_fd));
  });
}

Status Netlink::move_to_namespace_of(int index, pid_t process) {
  return change_link(index, fmt::format("change the network namespace to process {}'s", process),
                     [&](NetlinkRequest& request) {
                       request.add32(IFLA_NET_NS_PID, static_cast<std::uint32_t>(process));
                     });
}

Status Netlink::add_bridge(std::string_view name) {
  if (Status status = check_name(name); !status) return status;
  NetlinkRequest request(RTM_NEWLINK, NLM_F_ACK | kCreate, ifinfomsg{});
  request.add_text(IFLA_IFNAME, name);
  std::size_t info = request.begin(IFLA_LINKINFO);
  request.add_text(IFLA_INFO_KIND, "bridge");
  request.end(info);
  return change(std::move(request), fmt::format("make the bridge {}", name));
}

Status Netlink::add_veth(std::string_view name, const VethPeer& peer) {
  if (Status status = check_name(name); !status) return status;
  if (Status status = check_name(peer.name); !status) return status;
  NetlinkRequest request(RTM_NEWLINK, NLM_F_ACK | kCreate, ifinfomsg{});
  request.add_text(IFLA_IFNAME, name);
  std::size_t info = request.begin(IFLA_LINKINFO);
  request.add_text(IFLA_INFO_KIND, "veth");
  std::size_t data = request.begin(IFLA_INFO_DATA);
  std::size_t other = request.begin(VETH_INFO_PEER);
  request.append(bytes_of(ifinfomsg{}));
  request.add_text(IFLA_IFNAME, peer.name);
  if (peer.namespace_fd >= 0) {
    request.add32(IFLA_NET_NS_FD, static_cast<std::uint32_t>(peer.namespace_fd));
  }
  request.end(other);
  request.end(data);
  request.end(info);
  return change(std::move(request), fmt::format("make the pair {} and {}", name, peer.name));
}

Status Netlink::remove_link(int index) {
  ifinfomsg fixed{};
  fixed.ifi_index = index;
  return change(NetlinkRequest(RTM_DELLINK, NLM_F_ACK, fixed),
                fmt::format("remove link {}", index));
}

Result<std::vector<InterfaceAddress>> Netlink::addresses() {
  return dump<InterfaceAddress>(RTM_GETADDR, ifaddrmsg{}, "list the addresses", parse_address);
}

Status Netlink::set_address(const InterfaceAddress& address) {
  NetlinkRequest request = address_request(address, RTM_NEWADDR, NLM_F_ACK | kReplace);
  if (address.duplicate_check == DuplicateCheck::left_out) request.add32(IFA_FLAGS, IFA_F_NODAD);
  // Without it, an IPv4 subnet's broadcasts come from all ones but go to 0.0.0.0.
  IpPrefix subnet(address.address, address.prefix_length);
  if (address.address.is_v4() && !address.peer && address.prefix_length < 31) {
    request.add_address(IFA_BROADCAST, subnet.last());
  }
  ifa_cacheinfo times{};
  times.ifa_valid = lifetime(address.valid);
  times.ifa_prefered = std::min(lifetime(address.preferred), times.ifa_valid);
  request.add(IFA_CACHEINFO, bytes_of(times));
  return change(std::move(request),
                fmt::format("set address {} on link {}", to_string(address), address.link));
}

Status Netlink::remove_address(const InterfaceAddress& address) {
  return change(address_request(address, RTM_DELADDR, NLM_F_ACK),
                fmt::format("remove address {} from link {}", to_string(address), address.link));
}

Result<std::vector<Route>> Netlink::routes() {
  return dump<Route>(RTM_GETROUTE, rtmsg{}, "list the routes", parse_route);
}

Status Netlink::change_route(const Route& route, std::uint16_t type, std::uint16_t flags,
                             std::string_view verb) {
  rtmsg fixed{};
  fixed.rtm_family = family_number(route.destination.address());
  fixed.rtm_dst_len = static_cast<std::uint8_t>(route.destination.length());
  fixed.rtm_table = RT_TABLE_MAIN;
  bool removing = type == RTM_DELROUTE;
  // Of a route that is to go, these two would have to match.
  fixed.rtm_protocol = removing ? RTPROT_UNSPEC : RTPROT_STATIC;
  fixed.rtm_scope = removing ? RT_SCOPE_NOWHERE : route.gateway ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK;
  fixed.rtm_type = RTN_UNICAST;
  if (route.gateway_on_link && !removing) fixed.rtm_flags = RTNH_F_ONLINK;
  NetlinkRequest request(type, flags, fixed);
  if (route.destination.length() > 0) request.add_address(RTA_DST, route.destination.address());
  if (route.gateway) request.add_address(RTA_GATEWAY, *route.gateway);
  if (route.source && !removing) request.add_address(RTA_PREFSRC, *route.source);
  request.add32(RTA_OIF, static_cast<std::uint32_t>(route.link));
  if (route.metric != 0) request.add32(RTA_PRIORITY, route.metric);
  return change(std::move(request),
                fmt::format("{} route {} of link {}", verb, to_string(route), route.link));
}

Status Netlink::add_route(const Route& route) {
  return change_route(route, RTM_NEWROUTE, NLM_F_ACK | kCreate, "add");
}

Status Netlink::set_route(const Route& route) {
  return change_route(route, RTM_NEWROUTE, NLM_F_ACK | kReplace, "set");
}

Status Netlink::remove_route(const Route& route) {
  return change_route(route, RTM_DELROUTE, NLM_F_ACK, "remove");
}

}  // namespace sluice::agent
