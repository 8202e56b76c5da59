#include "agent/net/network_state.h"

#include <algorithm>

namespace sluice::agent {
namespace {

bool is_usable(const InterfaceAddress& own) {
  return !own.tentative && !own.duplicate && !own.address.is_link_local();
}

std::optional<IpAddress> best_gateway(const std::vector<Route>& routes, int link, Family family) {
  const Route* best = nullptr;
  for (const Route& route : routes) {
    bool leads_out = route.link == link && route.gateway && route.destination.length() == 0 &&
                     route.destination.family() == family;
    if (leads_out && (!best || route.metric < best->metric)) best = &route;
  }
  if (!best) return std::nullopt;
  return best->gateway;
}

}  // namespace

std::string_view to_string(NetworkStage stage) {
  switch (stage) {
    case NetworkStage::waiting_for_device:
      return "waiting for a device";
    case NetworkStage::waiting_for_carrier:
      return "waiting for a carrier";
    case NetworkStage::waiting_for_address:
      return "waiting for an address";
    case NetworkStage::ready:
      return "ready";
  }
  return "unknown";
}

NetworkState state_of(const Link& link, const std::vector<InterfaceAddress>& addresses,
                      const std::vector<Route>& routes, Ipv6Mode ipv6) {
  NetworkState state;
  state.interface = link.name;
  state.link = link.index;
  state.mac = link.mac;
  state.mtu = link.mtu;
  bool has_v4 = false;
  bool has_v6 = false;
  for (const InterfaceAddress& own : addresses) {
    if (own.link != link.index || !is_usable(own)) continue;
    state.addresses.push_back({own.address, own.prefix_length});
    (own.address.is_v4() ? has_v4 : has_v6) = true;
  }
  state.gateway4 = best_gateway(routes, link.index, Family::v4);
  state.gateway6 = best_gateway(routes, link.index, Family::v6);
  bool usable = has_v4 || (has_v6 && (state.gateway6 || ipv6 == Ipv6Mode::fixed));
  if (!link.carrier) {
    state.stage = NetworkStage::waiting_for_carrier;
  } else {
    state.stage = usable ? NetworkStage::ready : NetworkStage::waiting_for_address;
  }
  return state;
}

}  // namespace sluice::agent
