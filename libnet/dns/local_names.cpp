#include "dns/local_names.h"

namespace sluice::dns {

using wire::DnsRcode;
using wire::DnsType;

namespace {

void append(Answer& whole, Answer part) {
  whole.records.insert(whole.records.end(), part.records.begin(), part.records.end());
  whole.names.insert(whole.names.end(), part.names.begin(), part.names.end());
  whole.rcode = part.rcode;
  whole.soa = std::move(part.soa);
}

}  // namespace

std::optional<LocalNames::Found> LocalNames::find(const DomainName& name, DnsType type) const {
  auto found = find_one(name, type);
  // RecordSet refuses longer chains, so the bound only says so once more.
  for (int aliases = 0; found && !found->answer.records.empty() && aliases < kMaxAliases;
       ++aliases) {
    const Record& last = found->answer.records.back();
    if (last.type != DnsType::cname || type == DnsType::cname) return found;
    auto target = alias_target(last);
    if (!target) return found;
    auto next = find_one(*target, type);
    if (!next) {
      found->outside = std::move(target);
      return found;
    }
    bool ends = next->answer.records.empty();
    append(found->answer, std::move(next->answer));
    found->origin = next->origin;
    if (ends) return found;
  }
  return found;
}

std::optional<LocalNames::Found> LocalNames::find_one(const DomainName& name, DnsType type) const {
  auto own = records.find(name, type);
  if (own && own->rcode == DnsRcode::no_error)
    return Found{std::move(*own), Origin::configured, {}};
  // A zone of the owner's may lie around the local one.
  if (auto answer = zone.find(name, type)) {
    if (answer->rcode == DnsRcode::name_error && records.has_below(name)) {
      answer->rcode = DnsRcode::no_error;
    }
    return Found{std::move(*answer), Origin::local, {}};
  }
  if (own) return Found{std::move(*own), Origin::configured, {}};
  return std::nullopt;
}

}  // namespace sluice::dns
