#include "agent/container/bridge.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>

#include <algorithm>
#include <cerrno>

#include "agent/net/sysctl.h"
#include "agent/os/file.h"
#include "agent/os/text.h"
#include "base/number.h"
#include "base/unique_fd.h"

namespace sluice::agent {

namespace {

constexpr std::uint32_t kOwnNumber = 1;
constexpr std::uint32_t kFirstNumber = 2;
/// No more containers than that, whatever the prefix has room for.
constexpr std::uint32_t kMostNumbers = 65533;
constexpr const char* kInnerName = "eth0";

/// How many addresses of it can be given away, from the second on.
std::uint32_t numbers_of(const IpPrefix& prefix) {
  int free_bits = prefix.address().bits() - prefix.length();
  if (free_bits >= 17) return kMostNumbers;
  // The first is the network's, the last of IPv4 the broadcast's.
  std::uint32_t all = std::uint32_t{1} << free_bits;
  return all > 3 ? all - 3 : 0;
}

/// Of the link that leads to the world: a larger one here would only be fragmented there.
std::uint32_t outer_mtu(Netlink& netlink) {
  auto routes = netlink.routes();
  if (!routes) return 0;
  for (const Route& route : *routes) {
    if (route.destination.length() != 0 || !route.gateway) continue;
    if (auto link = netlink.link(route.link)) return link->mtu;
  }
  return 0;
}

/// Runs `task` in another network namespace. This process has one thread, so nothing else of it
/// notices.
Status inside(int network_namespace, const std::function<Status()>& task) {
  UniqueFd own(::open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC));
  if (!own) return Status::from_errno(errno, "open /proc/self/ns/net");
  if (::setns(network_namespace, CLONE_NEWNET) != 0) {
    return Status::from_errno(errno, "enter the container's network");
  }
  Status status = task();
  if (::setns(own.get(), CLONE_NEWNET) != 0) return Status::from_errno(errno, "leave it again");
  return status;
}

Status set_up_inside(const std::vector<IpPrefix>& prefixes, std::uint32_t number,
                     std::uint32_t mtu) {
  auto netlink = Netlink::open();
  if (!netlink) return netlink.status();
  if (auto loopback = netlink->link("lo")) {
    if (Status status = netlink->set_state(loopback->index, LinkState::up); !status) return status;
  }
  auto link = netlink->link(kInnerName);
  if (!link) return link.status();
  if (mtu > 0) {
    if (Status status = netlink->set_mtu(link->index, mtu); !status) return status;
  }
  if (Status status = netlink->set_state(link->index, LinkState::up); !status) return status;
  for (const IpPrefix& prefix : prefixes) {
    InterfaceAddress address{.link = link->index,
                             .address = prefix.at(number),
                             .prefix_length = prefix.length(),
                             .peer = std::nullopt,
                             .duplicate_check = DuplicateCheck::left_out};
    if (Status status = netlink->set_address(address); !status) return status;
    Route route;
    route.destination = IpPrefix(IpAddress::any(prefix.family()), 0);
    route.gateway = prefix.at(kOwnNumber);
    route.link = link->index;
    if (Status status = netlink->set_route(route); !status) return status;
  }
  return Status::ok();
}

}  // namespace

std::vector<IpAddress> Bridge::addresses() const {
  std::vector<IpAddress> addresses;
  for (const IpPrefix& prefix : prefixes_) addresses.push_back(prefix.at(kOwnNumber));
  return addresses;
}

Status Bridge::make() {
  if (made_) return Status::ok();
  auto netlink = Netlink::open();
  if (!netlink) return netlink.status();
  Status added = netlink->add_bridge(kName);
  if (!added && added.code() != StatusCode::already_exists) return added;
  auto link = netlink->link(kName);
  if (!link) return link.status();
  if (std::uint32_t mtu = outer_mtu(*netlink); mtu > 0) {
    if (Status status = netlink->set_mtu(link->index, mtu); !status) return status;
  }
  if (Status status = netlink->set_state(link->index, LinkState::up); !status) return status;
  Sysctl sysctl;
  for (const IpPrefix& prefix : prefixes_) {
    InterfaceAddress address{.link = link->index,
                             .address = prefix.at(kOwnNumber),
                             .prefix_length = prefix.length(),
                             .peer = std::nullopt,
                             .duplicate_check = DuplicateCheck::left_out};
    if (Status status = netlink->set_address(address); !status) return status;
    bool is_v4 = prefix.family() == Family::v4;
    // A router takes no router's advertisements unless it is told to (2).
    if (!is_v4) {
      auto links = netlink->links();
      for (const Link& one : links ? *links : std::vector<Link>()) {
        if (!one.ethernet || one.name == kName) continue;
        [[maybe_unused]] Status set =
            sysctl.write(fmt::format("net/ipv6/conf/{}/accept_ra", one.name), "2");
      }
    }
    Status forwards =
        sysctl.write(is_v4 ? "net/ipv4/ip_forward" : "net/ipv6/conf/all/forwarding", "1");
    if (!forwards) return forwards;
  }
  made_ = true;
  return Status::ok();
}

/// In turn, so that an address that was just given back isn't at once another's.
Result<std::uint32_t> Bridge::take_number() {
  std::uint32_t most = kMostNumbers;
  for (const IpPrefix& prefix : prefixes_) most = std::min(most, numbers_of(prefix));
  for (std::uint32_t tries = 0; tries < most; ++tries) {
    if (next_ < kFirstNumber || next_ >= kFirstNumber + most) next_ = kFirstNumber;
    std::uint32_t number = next_++;
    if (taken_.insert(number).second) return number;
  }
  return Status(StatusCode::exhausted,
                fmt::format("all {} addresses of {} are in use", most, prefixes_[0].to_string()));
}

Result<Bridge::Port> Bridge::add(pid_t process) {
  if (Status status = make(); !status) return status;
  UniqueFd target(::open(fmt::format("/proc/{}/ns/net", process).c_str(), O_RDONLY | O_CLOEXEC));
  if (!target) return Status::from_errno(errno, "open the container's network namespace");
  auto number = take_number();
  if (!number) return number.status();

  Port port;
  port.link = "sv" + random_id().substr(0, 10);
  for (const IpPrefix& prefix : prefixes_) {
    port.addresses.push_back(fmt::format("{}/{}", prefix.at(*number).to_string(), prefix.length()));
  }
  auto netlink = Netlink::open();
  Status status = netlink.status();
  if (status) {
    status = netlink->add_veth(port.link, {.name = kInnerName, .namespace_fd = target.get()});
  }
  std::uint32_t mtu = 0;
  if (status) {
    auto bridge = netlink->link(kName);
    auto link = netlink->link(port.link);
    status = bridge ? link.status() : bridge.status();
    if (status) {
      mtu = bridge->mtu;
      status = netlink->set_mtu(link->index, mtu);
    }
    if (status) status = netlink->set_bridge(link->index, bridge->index);
    if (status) status = netlink->set_state(link->index, LinkState::up);
  }
  if (status) {
    status = inside(target.get(), [&] { return set_up_inside(prefixes_, *number, mtu); });
  }
  if (!status) {
    // The bridge may have been taken away by somebody.
    made_ = false;
    remove(port);
    return status;
  }
  return port;
}

void Bridge::adopt(const Port& port) {
  for (const std::string& text : port.addresses) {
    auto address = IpAddress::parse(text.substr(0, text.find('/')));
    for (const IpPrefix& prefix : prefixes_) {
      if (!address || !prefix.contains(*address)) continue;
      auto bytes = address->bytes();
      auto base = prefix.address().bytes();
      // What is behind the prefix is at most 17 bits.
      std::uint32_t number = 0;
      for (std::size_t i = bytes.size() - 4; i < bytes.size(); ++i) {
        number = number << 8 | static_cast<std::uint32_t>(bytes[i] ^ base[i]);
      }
      taken_.insert(number);
    }
  }
}

void Bridge::remove(const Port& port) {
  Bridge given(prefixes_);
  given.adopt(port);
  for (std::uint32_t number : given.taken_) taken_.erase(number);
  auto netlink = Netlink::open();
  if (!netlink || port.link.empty()) return;
  if (auto link = netlink->link(port.link)) {
    [[maybe_unused]] Status removed = netlink->remove_link(link->index);
  }
}

}  // namespace sluice::agent
