#include "dns/split_upstreams.h"

namespace sluice::dns {

bool SplitUpstreams::set_general(const std::vector<Endpoint>& endpoints) {
  auto before = general_->endpoints();
  general_->set(endpoints);
  return general_->endpoints() != before;
}

bool SplitUpstreams::set_zones(const std::vector<DnsSplit>& zones) {
  if (zones == split_) return false;
  split_ = zones;
  zones_.clear();
  for (const auto& entry : split_) {
    auto& upstreams = zones_[entry.zone];
    if (upstreams) continue;
    upstreams = std::make_shared<Upstreams>();
    upstreams->set(entry.resolvers);
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

}  // namespace sluice::dns
