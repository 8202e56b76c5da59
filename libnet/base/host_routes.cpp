#include "base/host_routes.h"

#include <arpa/inet.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <optional>

#include "base/bytes.h"

namespace sluice {
namespace {

// The kernel fills at most this much per read of a dump (NLMSG_GOODSIZE grows up to 32 KiB).
constexpr std::size_t kReadBytes = 32 * 1024;
// A reply of the kernel's is complete when send() returns; this bounds what is read of one.
constexpr int kMaxReads = 1024;
// Notifications read per turn of the loop.
constexpr int kMaxDrain = 64;

/// Where the Internet is: public addresses (resolvers and root name servers) in different parts of
/// the address space, as some VPNs split the default route in halves. Nothing is sent to them; the
/// kernel is only asked which way a packet would go.
const std::array kAnchors4{IpAddress::v4(9, 9, 9, 9), IpAddress::v4(198, 41, 0, 4)};
const std::array kAnchors6{
    IpAddress::v6({0x20, 0x01, 0x05, 0x03, 0xba, 0x3e, 0, 0, 0, 0, 0, 0, 0, 0x02, 0, 0x30}),
    IpAddress::v6({0x28, 0x01, 0x01, 0xb8, 0x00, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x0b})};

UniqueFd open_netlink(std::uint32_t groups) {
  UniqueFd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE));
  sockaddr_nl local{};
  local.nl_family = AF_NETLINK;
  local.nl_groups = groups;
  if (fd && ::bind(fd.get(), reinterpret_cast<sockaddr*>(&local), sizeof local) != 0) fd.reset();
  return fd;
}

/// One netlink message, copied out of the buffer so that alignment does not matter.
struct Message {
  nlmsghdr header{};
  ConstBytes body;
};

/// Takes the first message off `rest`; nothing where none fits.
std::optional<Message> next_message(ConstBytes& rest) {
  Message message;
  if (rest.size() < sizeof message.header) return std::nullopt;
  std::memcpy(&message.header, rest.data(), sizeof message.header);
  std::size_t length = message.header.nlmsg_len;
  if (length < NLMSG_HDRLEN || length > rest.size()) return std::nullopt;
  message.body = rest.subspan(NLMSG_HDRLEN, length - NLMSG_HDRLEN);
  rest = rest.subspan(std::min<std::size_t>(NLMSG_ALIGN(length), rest.size()));
  return message;
}

/// The value of the first attribute of `type` behind a fixed part of `fixed` bytes.
std::optional<ConstBytes> attribute(ConstBytes body, std::size_t fixed, std::uint16_t type) {
  fixed = NLMSG_ALIGN(fixed);
  if (body.size() < fixed) return std::nullopt;
  body = body.subspan(fixed);
  while (body.size() >= sizeof(rtattr)) {
    rtattr header{};
    std::memcpy(&header, body.data(), sizeof header);
    if (header.rta_len < sizeof header || header.rta_len > body.size()) return std::nullopt;
    if ((header.rta_type & NLA_TYPE_MASK) == type) {
      return body.subspan(RTA_LENGTH(0), header.rta_len - RTA_LENGTH(0));
    }
    body = body.subspan(std::min<std::size_t>(RTA_ALIGN(header.rta_len), body.size()));
  }
  return std::nullopt;
}

/// Sends a request and calls visit(message) for each part of the answer. An error, 0 for success.
template <typename Visit>
int ask(std::uint16_t type, std::uint16_t flags, ConstBytes body, Visit visit) {
  UniqueFd fd = open_netlink(0);
  if (!fd) return errno;
  std::vector<std::uint8_t> request(NLMSG_HDRLEN + body.size());
  nlmsghdr header{};
  header.nlmsg_len = static_cast<std::uint32_t>(request.size());
  header.nlmsg_type = type;
  header.nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | flags);
  std::memcpy(request.data(), &header, sizeof header);
  std::ranges::copy(body, request.begin() + NLMSG_HDRLEN);
  if (::send(fd.get(), request.data(), request.size(), 0) < 0) return errno;

  const auto buffer = std::make_unique_for_overwrite<std::uint8_t[]>(kReadBytes);
  for (int reads = 0; reads < kMaxReads; ++reads) {
    ssize_t n = ::recv(fd.get(), buffer.get(), kReadBytes, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return n < 0 ? errno : EPROTO;
    ConstBytes rest(buffer.get(), static_cast<std::size_t>(n));
    while (auto message = next_message(rest)) {
      if (message->header.nlmsg_type == NLMSG_DONE) return 0;
      if (message->header.nlmsg_type == NLMSG_ERROR) {
        int error = 0;
        if (message->body.size() >= sizeof error) {
          std::memcpy(&error, message->body.data(), sizeof error);
        }
        return -error;
      }
      visit(*message);
      if ((flags & NLM_F_DUMP) == 0) return 0;
    }
  }
  return EOVERFLOW;
}

/// Whether the kernel would forward a packet to `anchor`: not refuse, drop or keep it.
bool has_route_to(const IpAddress& anchor) {
  auto address = anchor.bytes();
  rtmsg route{};
  route.rtm_family = anchor.is_v4() ? AF_INET : AF_INET6;
  route.rtm_dst_len = static_cast<std::uint8_t>(anchor.bits());
  rtattr destination{};
  destination.rta_type = RTA_DST;
  destination.rta_len = static_cast<std::uint16_t>(RTA_LENGTH(address.size()));
  std::vector<std::uint8_t> body(NLMSG_ALIGN(sizeof route) + RTA_SPACE(address.size()));
  std::memcpy(body.data(), &route, sizeof route);
  std::uint8_t* at = body.data() + NLMSG_ALIGN(sizeof route);
  std::memcpy(at, &destination, sizeof destination);
  std::memcpy(at + RTA_LENGTH(0), address.data(), address.size());

  bool found = false;
  int error = ask(RTM_GETROUTE, 0, body, [&](const Message& answer) {
    rtmsg chosen{};
    if (answer.header.nlmsg_type != RTM_NEWROUTE || answer.body.size() < sizeof chosen) return;
    std::memcpy(&chosen, answer.body.data(), sizeof chosen);
    found = chosen.rtm_type == RTN_UNICAST;
  });
  return error == 0 && found;
}

template <typename Anchors>
bool has_default(const Anchors& anchors) {
  return std::ranges::any_of(anchors, [](const IpAddress& anchor) { return has_route_to(anchor); });
}

void add_address(const Message& message, HostRoutesSnapshot& snapshot) {
  ifaddrmsg info{};
  if (message.header.nlmsg_type != RTM_NEWADDR || message.body.size() < sizeof info ||
      snapshot.addresses.size() >= HostRoutes::kMaxAddresses) {
    return;
  }
  std::memcpy(&info, message.body.data(), sizeof info);
  std::size_t size = info.ifa_family == AF_INET ? 4 : info.ifa_family == AF_INET6 ? 16 : 0;
  // On point-to-point links IFA_ADDRESS is the peer's; elsewhere both are the host's.
  auto peer = attribute(message.body, sizeof info, IFA_ADDRESS);
  auto local = attribute(message.body, sizeof info, IFA_LOCAL);
  if (!local) local = peer;
  if (!local || size == 0 || local->size() != size) return;
  snapshot.addresses.push_back(IpAddress::from_bytes(*local));
  if (!peer || peer->size() != size) peer = local;
  snapshot.on_link.emplace_back(IpAddress::from_bytes(*peer), info.ifa_prefixlen);
}

template <typename T>
void sort_unique(std::vector<T>& values) {
  std::ranges::sort(values);
  values.erase(std::unique(values.begin(), values.end()), values.end());
}

Result<HostRoutesSnapshot> take_snapshot() {
  HostRoutesSnapshot snapshot;
  ifaddrmsg all{};
  all.ifa_family = AF_UNSPEC;
  std::array<std::uint8_t, sizeof all> body;
  std::memcpy(body.data(), &all, sizeof all);
  int error = ask(RTM_GETADDR, NLM_F_DUMP, body,
                  [&](const Message& message) { add_address(message, snapshot); });
  if (error != 0) return Status::from_errno(error, "ask the kernel for the host's addresses");
  sort_unique(snapshot.addresses);
  sort_unique(snapshot.on_link);
  snapshot.ipv4_default = has_default(kAnchors4);
  snapshot.ipv6_default = has_default(kAnchors6);
  return snapshot;
}

}  // namespace

HostRoutes::HostRoutes(Loop& loop, OnChange on_change, UniqueFd notifications)
    : on_change_(std::move(on_change)),
      notifications_(std::move(notifications)),
      settle_(loop.make_timer([this] { refresh(); })) {}

Result<std::unique_ptr<HostRoutes>> HostRoutes::open(Loop& loop, OnChange on_change) {
  UniqueFd notifications = open_netlink(RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR |
                                        RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE);
  if (!notifications) return Status::from_errno(errno, "open a netlink socket for route changes");
  int fd = notifications.get();
  std::unique_ptr<HostRoutes> routes(
      new HostRoutes(loop, std::move(on_change), std::move(notifications)));
  // After subscribing, so that no change falls between the two.
  auto snapshot = take_snapshot();
  if (!snapshot) return snapshot.status();
  routes->snapshot_ = std::move(*snapshot);
  routes->watch_ =
      loop.watch(fd, {.readable = true}, [self = routes.get()](FdReady) { self->on_readable(); });
  if (!routes->watch_) return Status(StatusCode::internal, "can't watch the netlink socket");
  return routes;
}

void HostRoutes::on_readable() {
  // What it says does not matter, nor whether some of it was lost (ENOBUFS).
  std::array<std::uint8_t, 4096> scratch;
  for (int i = 0; i < kMaxDrain; ++i) {
    ssize_t n = ::recv(notifications_.get(), scratch.data(), scratch.size(), 0);
    if (n < 0 && errno == EAGAIN) break;
  }
  if (!settle_->active()) settle_->start(kSettle);
}

void HostRoutes::refresh() {
  auto snapshot = take_snapshot();
  if (!snapshot) {
    // Short of memory or descriptors: what was known stays, until the next look.
    settle_->start(std::chrono::seconds(1));
    return;
  }
  if (*snapshot == snapshot_) return;
  snapshot_ = std::move(*snapshot);
  if (on_change_) on_change_(snapshot_);
}

}  // namespace sluice
