#include "wire/dhcp_lease.h"

#include <algorithm>

namespace sluice::wire {
namespace {

using std::chrono::seconds;

/// Whether a host or router can have it: not "this network", loopback, multicast or class E.
bool is_host_address(const IpAddress& address) {
  std::uint32_t first = address.v4_value() >> 24;
  return first != 0 && first != 127 && first < 224;
}

int class_prefix_length(const IpAddress& address) {
  std::uint32_t value = address.v4_value();
  if ((value & 0x80000000u) == 0) return 8;
  return (value & 0x40000000u) == 0 ? 16 : 24;
}

/// Whether `address` is all zeros or all ones behind the prefix, where that means something
/// (RFC 3021: not in a /31).
bool is_edge(const IpAddress& address, int prefix_length) {
  if (prefix_length >= 31) return false;
  IpPrefix subnet(address, prefix_length);
  return address == subnet.address() || address == subnet.last();
}

std::vector<IpAddress> host_addresses(const DhcpView& reply, DhcpOption code, std::size_t most) {
  std::vector<IpAddress> list;
  for (const IpAddress& address : reply.addresses(code)) {
    if (list.size() == most) break;
    if (is_host_address(address) && std::ranges::count(list, address) == 0) {
      list.push_back(address);
    }
  }
  return list;
}

bool is_useful(const DhcpRoute& route) {
  const IpPrefix& to = route.destination;
  bool to_hosts = !to.address().is_multicast() && !(to.length() >= 8 && to.address().is_loopback());
  return to_hosts && (route.router.is_unspecified() || is_host_address(route.router));
}

DomainName name_of(const DhcpView& reply, DhcpOption code) {
  auto text = reply.text(code);
  if (!text) return {};
  auto name = DomainName::parse(*text);
  return name ? *name : DomainName();
}

void read_times(const DhcpView& reply, DhcpLease& lease) {
  auto told = [&](DhcpOption code, seconds otherwise) {
    auto number = reply.number32(code);
    return number ? seconds(*number) : otherwise;
  };
  lease.duration = std::max(told(DhcpOption::lease_seconds, DhcpLease::kAssumedDuration),
                            DhcpLease::kMinDuration);
  if (lease.is_forever()) return;
  lease.rebind_after = told(DhcpOption::rebinding_seconds, lease.duration * 7 / 8);
  lease.renew_after =
      std::max(told(DhcpOption::renewal_seconds, lease.duration / 2), DhcpLease::kMinRenewal);
  // T1 < T2 < end (RFC 2131 section 4.4.5); of a server that says otherwise neither is believed.
  if (lease.rebind_after >= lease.duration || lease.renew_after >= lease.rebind_after) {
    lease.renew_after = lease.duration / 2;
    lease.rebind_after = lease.duration * 7 / 8;
  }
}

Status refuse(const char* why) {
  return Status(StatusCode::invalid_argument, why);
}

}  // namespace

Result<DhcpLease> DhcpLease::read(const DhcpView& reply) {
  DhcpLease lease;
  lease.address = reply.your_address();
  if (!is_host_address(lease.address)) return refuse("its address (yiaddr) is no host's");
  lease.prefix_length = class_prefix_length(lease.address);
  if (auto mask = reply.address(DhcpOption::subnet_mask)) {
    auto length = wire::prefix_length(*mask);
    if (!length || *length == 0) return refuse("its subnet mask has holes");
    lease.prefix_length = *length;
  }
  if (is_edge(lease.address, lease.prefix_length)) {
    return refuse("its address (yiaddr) is its network's own or broadcast address");
  }
  auto server = reply.address(DhcpOption::server_id);
  if (!server || !is_host_address(*server)) return refuse("it names no server (option 54)");
  lease.server = *server;

  lease.routers = host_addresses(reply, DhcpOption::routers, kMaxRouters);
  std::erase(lease.routers, lease.address);
  for (const DhcpRoute& route : reply.routes()) {
    if (lease.routes.size() == kMaxRoutes) break;
    if (is_useful(route) && route.router != lease.address) lease.routes.push_back(route);
  }
  lease.dns_servers = host_addresses(reply, DhcpOption::dns_servers, kMaxDnsServers);
  lease.host_name = name_of(reply, DhcpOption::host_name);
  lease.domain = name_of(reply, DhcpOption::domain_name);
  lease.search = reply.search_list();
  auto mtu = reply.number16(DhcpOption::interface_mtu);
  if (mtu && *mtu >= kMinMtu) lease.mtu = *mtu;
  read_times(reply, lease);
  return lease;
}

}  // namespace sluice::wire
