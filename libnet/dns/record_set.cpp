#include "dns/record_set.h"

#include <fmt/format.h>

#include <algorithm>

#include "dns/record_text.h"

namespace sluice::dns {

using wire::DnsName;
using wire::DnsRcode;
using wire::DnsType;

namespace {

const Record* alias_of(const std::vector<Record>& records) {
  auto alias = std::find_if(records.begin(), records.end(),
                            [](const Record& record) { return record.type == DnsType::cname; });
  return alias == records.end() ? nullptr : &*alias;
}

}  // namespace

std::optional<DomainName> alias_target(const Record& record) {
  auto target = DnsName::read(record.rdata, 0);
  return target ? target->name.domain() : std::nullopt;
}

Result<RecordSet> parse_record_set(const std::vector<std::string>& records,
                                   const std::vector<DomainName>& zones) {
  std::vector<Record> parsed;
  for (const auto& text : records) {
    auto record = parse_record(text);
    if (!record) return record.status();
    parsed.push_back(std::move(*record));
  }
  return RecordSet::make(std::move(parsed), zones);
}

Result<RecordSet> RecordSet::make(std::vector<Record> records, std::vector<DomainName> zones) {
  if (records.size() > kMaxRecords || zones.size() > kMaxZones) {
    return Status::invalid_argument(
        fmt::format("{} DNS records in {} zones are too many; at most {} in {} are possible",
                    records.size(), zones.size(), kMaxRecords, kMaxZones));
  }
  RecordSet set;
  for (auto& zone : zones) {
    if (zone.is_root())
      return Status::invalid_argument("the root can't be a DNS zone of ours; name the zone");
    set.zones_.insert(std::move(zone));
  }
  for (auto& record : records) {
    if (Status status = set.add(std::move(record)); !status) return status;
  }
  if (Status status = set.check_aliases(); !status) return status;
  return set;
}

Status RecordSet::add(Record record) {
  auto name = record.owner.domain();
  if (!name)
    return Status::invalid_argument(
        fmt::format("DNS record of {}: not a name", record.owner.to_string()));
  auto& there = names_[*name];
  std::size_t bytes = record.rdata.size();
  for (const auto& other : there) {
    bool same_type = other.type == record.type;
    if (same_type && other.rdata == record.rdata) return Status::ok();
    if (same_type) bytes += other.rdata.size();
    if (other.type == DnsType::cname || record.type == DnsType::cname) {
      return Status::invalid_argument(
          fmt::format("DNS record of {}: a name with a CNAME can have no other record; "
                      "remove the CNAME or the others",
                      name->text()));
    }
  }
  if (bytes > kMaxSetBytes) {
    return Status::invalid_argument(
        fmt::format("DNS records of {}: more than {} bytes of one type; remove some", name->text(),
                    kMaxSetBytes));
  }
  if (record.type == DnsType::cname && zones_.contains(*name)) {
    return Status::invalid_argument(
        fmt::format("DNS record of {}: a zone's own name can't be a CNAME; give it A or "
                    "AAAA records",
                    name->text()));
  }
  for (DomainName up = name->parent(); !up.is_root() && above_.insert(up).second;) up = up.parent();
  there.push_back(std::move(record));
  ++count_;
  return Status::ok();
}

Status RecordSet::check_aliases() const {
  const DomainName* faulty = nullptr;
  for (const auto& [name, records] : names_) {
    const Record* alias = alias_of(records);
    for (int steps = 0; alias != nullptr; ++steps) {
      if (steps == kMaxAliases) {
        // The first by name, so that the same records always give the same error.
        if (!faulty || name < *faulty) faulty = &name;
        break;
      }
      auto target = alias_target(*alias);
      auto next = target ? names_.find(*target) : names_.end();
      alias = next == names_.end() ? nullptr : alias_of(next->second);
    }
  }
  if (!faulty) return Status::ok();
  return Status::invalid_argument(
      fmt::format("DNS record of {}: its CNAMEs lead back to themselves, or are more than {}; "
                  "end the chain",
                  faulty->text(), kMaxAliases));
}

std::optional<Answer> RecordSet::find(const DomainName& name, DnsType type) const {
  auto node = names_.find(name);
  auto zone = zone_of(name);
  if (node == names_.end() && !zone) return std::nullopt;

  Answer answer;
  answer.authoritative = true;
  if (node != names_.end()) {
    for (const auto& record : node->second) {
      if (record.type == type) answer.records.push_back(record);
    }
    const Record* alias = answer.records.empty() ? alias_of(node->second) : nullptr;
    if (alias) answer.records.push_back(*alias);
  }
  answer.names.push_back(name);
  if (!answer.records.empty()) return answer;

  bool exists = node != names_.end() || name == *zone || has_below(name);
  DnsName owner(zone ? *zone : name);
  auto soa = make_soa(owner, owner, kNegativeTtlSeconds);
  if (!exists) answer.rcode = DnsRcode::name_error;
  if (type == DnsType::soa && zone && name == *zone) {
    answer.records.push_back(std::move(soa));
  } else {
    answer.soa = std::move(soa);
  }
  return answer;
}

std::vector<Record> RecordSet::list() const {
  std::vector<const DomainName*> names;
  for (const auto& [name, records] : names_) names.push_back(&name);
  std::sort(names.begin(), names.end(),
            [](const DomainName* a, const DomainName* b) { return *a < *b; });
  std::vector<Record> all;
  all.reserve(count_);
  for (const DomainName* name : names) {
    const Records& records = names_.at(*name);
    all.insert(all.end(), records.begin(), records.end());
  }
  return all;
}

std::vector<DomainName> RecordSet::zone_list() const {
  std::vector<DomainName> all(zones_.begin(), zones_.end());
  std::sort(all.begin(), all.end());
  return all;
}

std::optional<DomainName> RecordSet::zone_of(const DomainName& name) const {
  if (zones_.empty()) return std::nullopt;
  for (DomainName up = name; !up.is_root(); up = up.parent()) {
    if (zones_.contains(up)) return up;
  }
  return std::nullopt;
}

}  // namespace sluice::dns
