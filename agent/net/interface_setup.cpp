#include "agent/net/interface_setup.h"

#include <algorithm>

namespace sluice::agent {
namespace {

using std::chrono::seconds;

/// Whether packets to `router` need no other router, by what `setup` holds.
bool is_reachable(const IpAddress& router, const InterfaceSetup& setup) {
  auto covers = [&](const InterfaceAddress& own) {
    return IpPrefix(own.address, own.prefix_length).contains(router);
  };
  auto leads = [&](const Route& route) {
    return !route.gateway && route.destination.contains(router);
  };
  return std::ranges::any_of(setup.addresses, covers) || std::ranges::any_of(setup.routes, leads);
}

void add_route(const IpPrefix& destination, const IpAddress& gateway, const Link& link,
               InterfaceSetup& setup) {
  Route route;
  route.destination = destination;
  route.link = link.index;
  if (!gateway.is_unspecified()) {
    route.gateway = gateway;
    // Link-local routers of IPv6 are on the link anyhow.
    route.gateway_on_link = !gateway.is_link_local() && !is_reachable(gateway, setup);
  }
  // The kernel's own route to the prefix of an address is not ours to replace.
  bool with_address = !route.gateway && std::ranges::any_of(setup.addresses, [&](const auto& own) {
    return IpPrefix(own.address, own.prefix_length) == destination;
  });
  auto same = [&](const Route& other) { return other.destination == destination; };
  if (!with_address && std::ranges::none_of(setup.routes, same)) setup.routes.push_back(route);
}

/// Keeps the first failure.
class FirstFailure {
 public:
  void note(Status status) {
    if (first_ && !status) first_ = std::move(status);
  }
  /// For what may be gone already.
  void note_unless_gone(Status status) {
    if (status.code() != StatusCode::not_found) note(std::move(status));
  }
  Status take() { return std::move(first_); }

 private:
  Status first_;
};

template <typename T>
bool holds(const std::vector<T>& list, const T& wanted) {
  return std::ranges::any_of(list, [&](const T& other) { return other.is_same(wanted); });
}

void bring(Netlink& netlink, const InterfaceSetup& wanted, FirstFailure& failure) {
  for (const InterfaceAddress& address : wanted.addresses) {
    failure.note(netlink.set_address(address));
  }
  for (const Route& route : wanted.routes) failure.note(netlink.set_route(route));
}

}  // namespace

void add_default_route(const IpAddress& gateway, const Link& link, InterfaceSetup& setup) {
  add_route(IpPrefix(IpAddress::any(gateway.family()), 0), gateway, link, setup);
}

void add_lease(const wire::DhcpLease& lease, const Link& link, seconds left,
               InterfaceSetup& setup) {
  InterfaceAddress own;
  own.link = link.index;
  own.address = lease.address;
  own.prefix_length = lease.prefix_length;
  own.preferred = own.valid = left;
  setup.addresses.push_back(own);
  if (lease.mtu != 0 && setup.mtu == 0) {
    setup.mtu = link.max_mtu == 0 ? lease.mtu : std::min<std::uint32_t>(lease.mtu, link.max_mtu);
  }
  // On-link destinations first: the routers of the others may be there.
  for (const wire::DhcpRoute& route : lease.routes) {
    if (route.router.is_unspecified()) add_route(route.destination, route.router, link, setup);
  }
  for (const wire::DhcpRoute& route : lease.routes) {
    if (!route.router.is_unspecified()) add_route(route.destination, route.router, link, setup);
  }
  if (lease.routes.empty() && !lease.routers.empty()) {
    add_default_route(lease.routers.front(), link, setup);
  }
}

Status apply(Netlink& netlink, const Link& link, const InterfaceSetup& old,
             const InterfaceSetup& wanted) {
  FirstFailure failure;
  if (wanted.mtu != 0 && wanted.mtu != link.mtu) {
    failure.note(netlink.set_mtu(link.index, wanted.mtu));
  }
  bring(netlink, wanted, failure);
  for (const Route& route : old.routes) {
    // One to the same destination with the same metric has been replaced.
    bool replaced = std::ranges::any_of(wanted.routes, [&](const Route& other) {
      return other.destination == route.destination && other.metric == route.metric;
    });
    if (!replaced) failure.note_unless_gone(netlink.remove_route(route));
  }
  bool removed = false;
  for (const InterfaceAddress& address : old.addresses) {
    if (holds(wanted.addresses, address)) continue;
    failure.note_unless_gone(netlink.remove_address(address));
    removed = true;
  }
  // Where the sysctl promote_secondaries could not be set, the others of the subnet went with it.
  if (removed) bring(netlink, wanted, failure);
  return failure.take();
}

}  // namespace sluice::agent
