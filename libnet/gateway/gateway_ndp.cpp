#include "gateway/gateway.h"
#include "wire/ethernet.h"
#include "wire/ndp.h"

// The gateway's side of Neighbour Discovery (RFC 4861).

namespace sluice::gateway {

void Gateway::on_ndp(const MacAddress& source, const wire::Packet& packet, TimePoint now) {
  auto message = wire::NdpView::parse(packet);
  if (!message || !message->hop_limit_ok()) {
    ++counters_.ndp_malformed;
    return;
  }
  switch (message->type()) {
    case wire::NdpType::router_solicit:
      return on_router_solicit(source, *message, now);
    case wire::NdpType::neighbor_solicit:
      return on_neighbor_solicit(source, *message, now);
    case wire::NdpType::neighbor_advert:
      return on_neighbor_advert(source, *message, now);
    case wire::NdpType::router_advert:
    case wire::NdpType::redirect:
      // There is one router on this link, and it is not in a guest.
      ++counters_.hostile_routers;
      return;
  }
}

void Gateway::on_router_solicit(const MacAddress& source, const wire::NdpView& message,
                                TimePoint now) {
  if (!message.source().is_unspecified()) claim(source, message.source(), now);
  ++counters_.advertisements;
  // To the asker alone also where it has no address yet (RFC 6085 allows the pairing), so that a
  // flood of solicitations costs nobody else anything.
  advertiser_.send(source,
                   message.source().is_unspecified() ? wire::all_nodes() : message.source());
}

void Gateway::on_neighbor_solicit(const MacAddress& source, const wire::NdpView& message,
                                  TimePoint now) {
  bool probe = message.source().is_unspecified();
  IpAddress target = message.target();
  if (!book_.is_own(target)) {
    // Duplicate address detection (RFC 4862 section 5.4): it claims the target unless somebody
    // objects, and nobody here does. Other questions are for other guests.
    claim(source, probe ? target : message.source(), now);
    return;
  }
  if (!probe) claim(source, message.source(), now);
  ++counters_.ndp_answered;
  wire::NeighborAdvert advert;
  advert.target = target;
  advert.target_mac = config_.mac;
  advert.from_router = true;
  advert.solicited = !probe;
  // RFC 4861 section 7.2.4: whoever probes has no address to answer to.
  IpAddress to = probe ? wire::all_nodes() : message.source();
  writer_.ndp(probe ? wire::multicast_mac(to) : source, target, to, advert);
}

void Gateway::on_neighbor_advert(const MacAddress& source, const wire::NdpView& message,
                                 TimePoint now) {
  auto announced = message.target_link_address();
  if (announced && *announced != source) {
    ++counters_.ndp_malformed;
    return;
  }
  claim(source, message.target(), now);
}

}  // namespace sluice::gateway
