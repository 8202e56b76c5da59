#include "dns/split_upstreams.h"

namespace sluice::dns {

bool SplitUpstreams::set_general(const std::vector<DnsResolver>& resolvers) {
  auto before = general_->resolvers();
  general_->set(resolvers);
  return general_->resolvers() != before;
}

bool SplitUpstreams::set_zones(const std::vector<DnsSplit>& zones) {
  if (zones == split_) return false;
  split_ = zones;
  auto before = std::move(zones_);
  zones_.clear();
  for (const auto& entry : split_) {
    auto& upstreams = zones_[entry.zone];
    if (upstreams) continue;
    // A zone that keeps its resolvers keeps what is known of them.
    auto same = before.find(entry.zone);
    bool stays = same != before.end() && same->second->resolvers() == entry.resolvers;
    upstreams = stays ? same->second : std::make_shared<Upstreams>();
    if (!stays) upstreams->set(entry.resolvers);
  }
  return true;
}

std::shared_ptr<Upstreams> SplitUpstreams::for_name(const DomainName& name) const {
  if (zones_.empty()) return general_;
  for (DomainName up = name; !up.is_root(); up = up.parent()) {
    if (auto found = zones_.find(up); found != zones_.end()) return found->second;
  }
  return general_;
}

const Upstreams* SplitUpstreams::of_zone(const DomainName& zone) const {
  auto found = zones_.find(zone);
  return found == zones_.end() ? nullptr : found->second.get();
}

}  // namespace sluice::dns
