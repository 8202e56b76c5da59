#include "hostd/dns_difference.h"

#include <algorithm>
#include <set>
#include <string>

#include "dns/record_print.h"
#include "dns/record_text.h"

namespace sluice::hostd {

namespace {

template <typename T>
std::vector<T> without(const std::vector<T>& list, const std::vector<T>& other) {
  std::vector<T> out;
  std::copy_if(list.begin(), list.end(), std::back_inserter(out), [&](const T& one) {
    return std::find(other.begin(), other.end(), one) == other.end();
  });
  return out;
}

/// A record that can't be read is left to the Network to name.
DnsRecordMatch match_of(const std::string& text) {
  auto record = dns::parse_record(text);
  auto described = record ? dns::describe_record(*record) : std::nullopt;
  if (!described) return {};
  return {std::move(described->name), std::move(described->type), std::move(described->value)};
}

}  // namespace

DnsChange dns_difference(const NetworkConfig& before, const NetworkConfig& after) {
  DnsChange change;
  std::set<std::string> old_records(before.dns_records.begin(), before.dns_records.end());
  std::set<std::string> new_records(after.dns_records.begin(), after.dns_records.end());
  for (const std::string& text : old_records) {
    if (!new_records.contains(text)) change.remove_records.push_back(match_of(text));
  }
  for (const std::string& text : after.dns_records) {
    if (!old_records.contains(text)) change.add_records.push_back(text);
  }
  change.remove_zones = without(before.dns_zones, after.dns_zones);
  change.add_zones = without(after.dns_zones, before.dns_zones);
  change.add_split = without(after.dns_split, before.dns_split);
  for (const DnsSplit& split : before.dns_split) {
    bool stays = std::any_of(after.dns_split.begin(), after.dns_split.end(),
                             [&](const DnsSplit& other) { return other.zone == split.zone; });
    if (!stays) change.remove_split.push_back(split.zone);
  }
  if (after.dns_upstreams != before.dns_upstreams) change.upstreams = after.dns_upstreams;
  return change;
}

}  // namespace sluice::hostd
