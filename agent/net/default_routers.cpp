#include "agent/net/default_routers.h"

#include "agent/net/netlink.h"

namespace sluice::agent {

std::vector<IpAddress> default_routers() {
  std::vector<IpAddress> routers;
  auto netlink = Netlink::open();
  if (!netlink) return routers;
  auto routes = netlink->routes();
  if (!routes) return routers;
  for (const Route& route : *routes) {
    if (route.destination.length() == 0 && route.gateway) routers.push_back(*route.gateway);
  }
  return routers;
}

}  // namespace sluice::agent
