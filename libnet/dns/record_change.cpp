#include "dns/record_change.h"

#include <algorithm>
#include <set>
#include <unordered_map>

#include "dns/record_print.h"
#include "dns/record_text.h"
#include "wire/dns_rdata.h"

namespace sluice::dns {

using wire::DnsType;

namespace {

/// Whether both say the same, for however long.
bool same(const Record& a, const Record& b) {
  return a.type == b.type && a.rdata == b.rdata && a.owner.same_as(b.owner);
}

/// The matches by name: a large change of a large set is not to cost their product.
using Matches = std::unordered_map<DomainName, std::vector<const DnsRecordMatch*>>;

bool is_removed(const Record& record, const Matches& removals) {
  auto described = describe_record(record);
  auto found = described ? removals.find(described->name) : removals.end();
  return found != removals.end() &&
         std::any_of(found->second.begin(), found->second.end(),
                     [&](const DnsRecordMatch* match) { return match->matches(*described); });
}

/// The addresses that a set gives a name, along its aliases; `outside` where these leave it.
struct Reach {
  std::set<IpAddress> addresses;
  bool outside = false;
};

Reach reach_of(const RecordSet& set, DomainName name) {
  Reach reach;
  for (int aliases = 0; aliases <= kMaxAliases; ++aliases) {
    std::optional<DomainName> target;
    for (DnsType type : {DnsType::a, DnsType::aaaa}) {
      auto answer = set.find(name, type);
      if (!answer) {
        reach.outside = aliases > 0;
        return reach;
      }
      for (const Record& record : answer->records) {
        if (auto address = wire::rdata_address(record.type, record.rdata)) {
          reach.addresses.insert(*address);
        } else if (record.type == DnsType::cname) {
          target = alias_target(record);
        }
      }
    }
    if (!target) return reach;
    name = std::move(*target);
  }
  return reach;
}

/// Names whose addresses the removed records may have a part in: their own and the aliases of
/// these.
std::set<DomainName> touched_names(const std::vector<Record>& before,
                                   const std::vector<Record>& removed) {
  std::set<DomainName> touched;
  for (const Record& record : removed) {
    if (auto name = record.owner.domain()) touched.insert(std::move(*name));
  }
  // A chain has at most kMaxAliases links, so each round finds the names one link further.
  for (int round = 0; round < kMaxAliases; ++round) {
    std::size_t known = touched.size();
    for (const Record& record : before) {
      auto target = record.type == DnsType::cname ? alias_target(record) : std::nullopt;
      auto name = target && touched.contains(*target) ? record.owner.domain() : std::nullopt;
      if (name) touched.insert(std::move(*name));
    }
    if (touched.size() == known) break;
  }
  return touched;
}

void note_losses(const RecordSet& before, const std::set<DomainName>& touched,
                 RecordChange& change) {
  for (const DomainName& name : touched) {
    Reach had = reach_of(before, name), has = reach_of(change.records, name);
    if (had.outside && !has.outside) change.lost_aliases.push_back(name);
    for (const IpAddress& address : had.addresses) {
      if (!has.addresses.contains(address)) change.lost_addresses.emplace_back(name, address);
    }
  }
}

}  // namespace

Result<RecordChange> change_records(const RecordSet& before, const DnsChange& change) {
  std::vector<Record> old = before.list(), kept, removed, added;
  std::unordered_map<DomainName, std::vector<std::size_t>> added_at;
  for (const std::string& text : change.add_records) {
    auto record = parse_record(text);
    if (!record) return record.status();
    if (auto name = record->owner.domain()) added_at[*name].push_back(added.size());
    added.push_back(std::move(*record));
  }
  Matches removals;
  for (const DnsRecordMatch& match : change.remove_records) {
    removals[match.name].push_back(&match);
  }
  auto is_added = [&](const Record& record) {
    auto name = record.owner.domain();
    auto at = name ? added_at.find(*name) : added_at.end();
    return at != added_at.end() &&
           std::any_of(at->second.begin(), at->second.end(),
                       [&](std::size_t index) { return same(added[index], record); });
  };
  for (const Record& record : old) {
    if (is_added(record)) continue;
    (is_removed(record, removals) ? removed : kept).push_back(record);
  }
  kept.insert(kept.end(), added.begin(), added.end());

  std::vector<DomainName> zones;
  for (DomainName& zone : before.zone_list()) {
    const auto& gone = change.remove_zones;
    if (std::find(gone.begin(), gone.end(), zone) == gone.end()) zones.push_back(std::move(zone));
  }
  zones.insert(zones.end(), change.add_zones.begin(), change.add_zones.end());

  auto records = RecordSet::make(std::move(kept), std::move(zones));
  if (!records) return records.status();
  RecordChange out{std::move(*records), {}, {}};
  if (!removed.empty()) note_losses(before, touched_names(old, removed), out);
  return out;
}

std::vector<DnsSplit> change_split(std::vector<DnsSplit> split, const DnsChange& change) {
  std::erase_if(split, [&](const DnsSplit& entry) {
    const auto& gone = change.remove_split;
    return std::find(gone.begin(), gone.end(), entry.zone) != gone.end() ||
           std::any_of(change.add_split.begin(), change.add_split.end(),
                       [&](const DnsSplit& added) { return added.zone == entry.zone; });
  });
  split.insert(split.end(), change.add_split.begin(), change.add_split.end());
  return split;
}

}  // namespace sluice::dns
