#pragma once

#include <memory>
#include <unordered_map>
#include <vector>

#include <net/dns.h>
#include <net/name.h>

#include "dns/upstreams.h"

namespace sluice::dns {

/// Which resolvers a name is asked at: those of the longest zone that it is in, or the general
/// ones. Each list has its own health, and none stands in for another: what a company's resolver
/// alone may hear is not told to a public one because the first is away.
class SplitUpstreams {
 public:
  const Upstreams& general() const { return *general_; }
  /// Both say whether anything changed.
  bool set_general(const std::vector<DnsResolver>& resolvers);
  /// Of several entries for one zone the first counts. Questions that are open keep the list that
  /// they were asked at.
  bool set_zones(const std::vector<DnsSplit>& zones);

  std::shared_ptr<Upstreams> for_name(const DomainName& name) const;

  /// As set_zones() was given them.
  const std::vector<DnsSplit>& zones() const { return split_; }
  /// The resolvers of exactly this zone; nullptr where it has none of its own.
  const Upstreams* of_zone(const DomainName& zone) const;

 private:
  std::shared_ptr<Upstreams> general_ = std::make_shared<Upstreams>();
  std::vector<DnsSplit> split_;
  std::unordered_map<DomainName, std::shared_ptr<Upstreams>> zones_;
};

}  // namespace sluice::dns
