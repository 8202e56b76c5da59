#pragma once

#include <optional>

#include "dns/hooks.h"
#include "dns/local_zone.h"
#include "dns/record_set.h"

namespace sluice::dns {

/// All names that are answered without asking anybody: the owner's records first, then the local
/// zone, which the owner may so add to.
struct LocalNames {
  LocalZone zone;
  RecordSet records;

  struct Found {
    Answer answer;
    /// Of what the chain ends with.
    Origin origin = Origin::local;
    /// The answer is a chain of aliases that ends at this name, which is not local.
    std::optional<DomainName> outside;
  };
  /// Follows aliases from one local name to the next. Nothing where the name is not local.
  std::optional<Found> find(const DomainName& name, wire::DnsType type) const;

 private:
  std::optional<Found> find_one(const DomainName& name, wire::DnsType type) const;
};

}  // namespace sluice::dns
