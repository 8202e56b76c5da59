#pragma once

#include <utility>
#include <vector>

#include <net/dns.h>

#include "dns/record_set.h"

namespace sluice::dns {

/// What a change of the owner's records comes to.
struct RecordChange {
  RecordSet records;
  /// Addresses that a name no longer has by any record, also where aliases led from the one to the
  /// other.
  std::vector<std::pair<DomainName, IpAddress>> lost_addresses;
  /// Names that were an alias of something outside, whose addresses are not known here.
  std::vector<DomainName> lost_aliases;
};

/// `before` after `change`. The error names the record or zone and the fix: what RecordSet::make()
/// refuses, a record that can't be read.
Result<RecordChange> change_records(const RecordSet& before, const DnsChange& change);

/// The resolvers of zones after `change`.
std::vector<DnsSplit> change_split(std::vector<DnsSplit> split, const DnsChange& change);

}  // namespace sluice::dns
