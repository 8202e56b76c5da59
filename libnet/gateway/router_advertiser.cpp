#include "gateway/router_advertiser.h"

#include <array>

#include "wire/ethernet.h"
#include "wire/ndp.h"

namespace sluice::gateway {

RouterAdvertiser::RouterAdvertiser(const Config& config, FrameWriter& writer, const HashKey& key)
    : config_(config), writer_(writer), key_(key), search_(search_list(config)) {}

void RouterAdvertiser::start(TimePoint now) {
  initial_left_ = kInitialCount;
  due_ = now;
}

int RouterAdvertiser::tick(TimePoint now) {
  if (now < due_) return 0;
  due_ = now + next_interval();
  send(wire::multicast_mac(wire::all_nodes()), wire::all_nodes());
  return 1;
}

Duration RouterAdvertiser::next_interval() {
  if (initial_left_ > 0) {
    --initial_left_;
    if (initial_left_ > 0) return kInitialInterval;
  }
  std::array<std::uint8_t, 8> counter;
  store_be64(counter.data(), sent_);
  Duration spread = kMaxInterval - kMinInterval;
  return kMinInterval +
         Duration(siphash(key_, counter) % static_cast<std::uint64_t>(spread.count()));
}

void RouterAdvertiser::send(const MacAddress& to, const IpAddress& destination) {
  ++sent_;
  const std::array prefixes{wire::NdpPrefix{.prefix = config_.prefix6,
                                            .valid_seconds = kValidSeconds,
                                            .preferred_seconds = kPreferredSeconds}};
  const std::array dns_servers{config_.gateway6};
  wire::RouterAdvert advert;
  advert.managed = true;
  advert.other_config = true;
  // With no way on from here, offering one would be a black hole; addresses are kept all the same.
  advert.lifetime_seconds = route_ == DefaultRoute::present ? kLifetimeSeconds : 0;
  advert.source_mac = writer_.own_mac();
  advert.mtu = config_.mtu;
  advert.prefixes = prefixes;
  advert.dns_servers = dns_servers;
  advert.search_domains = search_;
  advert.dns_lifetime_seconds = kLifetimeSeconds;
  writer_.ndp(to, wire::link_local_from(writer_.own_mac()), destination, advert);
}

}  // namespace sluice::gateway
