#include "agent/net/default_routers.h"

#include <algorithm>

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

bool DefaultRouters::contains(const IpAddress& address) {
  if (!asked_at_ || loop_.now() - *asked_at_ >= kMaxAge) {
    routers_ = ask_();
    asked_at_ = loop_.now();
  }
  return std::ranges::count(routers_, address) > 0;
}

}  // namespace sluice::agent
