#include "dns/answer.h"

#include <algorithm>

#include "wire/dns_rdata.h"
#include "wire/dns_svcb.h"

namespace sluice::dns {

using wire::DnsClass;
using wire::DnsMessage;
using wire::DnsName;
using wire::DnsRcode;
using wire::DnsRecordView;
using wire::DnsSection;
using wire::DnsType;

namespace {

/// Serial, refresh, retry, expire, minimum.
constexpr std::size_t kSoaNumbersBytes = 20;

bool is_answer_for(const DnsRecordView& record, const DnsName& owner, DnsType type) {
  return record.section == DnsSection::answer && record.klass == DnsClass::internet &&
         record.type == type && record.owner.same_as(owner);
}

std::optional<Record> copy_record(const DnsMessage& reply, const DnsRecordView& view) {
  auto rdata = wire::expand_rdata(reply, view);
  // The name index hears of A and AAAA records only, so the guest is to ask for those.
  // And rules on names read the SNI, which must not be encrypted, whatever rules come next.
  bool has_hints = view.type == DnsType::https || view.type == DnsType::svcb;
  if (rdata && has_hints) rdata = wire::without_hints_and_ech(*rdata);
  if (!rdata) return std::nullopt;
  // The case of the letters is our own noise, from the question to the upstream.
  return Record{view.owner.lowered(), view.type, view.ttl_seconds, std::move(*rdata)};
}

void limit_lifetime(Answer& answer, std::chrono::seconds ttl) {
  answer.lifetime = std::min(answer.lifetime, ttl);
}

void note_name(Answer& answer, const DnsName& name) {
  if (auto domain = name.domain()) answer.names.push_back(std::move(*domain));
}

/// Appends the records of `owner` and `type`. False where one is malformed.
bool append_records(const DnsMessage& reply, const DnsName& owner, DnsType type, Answer& answer) {
  for (const auto& view : reply.records()) {
    if (!is_answer_for(view, owner, type)) continue;
    auto record = copy_record(reply, view);
    if (!record) return false;
    limit_lifetime(answer, std::chrono::seconds(record->ttl_seconds));
    answer.records.push_back(std::move(*record));
  }
  return true;
}

void attach_soa(const DnsMessage& reply, const DnsName& end, Answer& answer) {
  for (const auto& view : reply.records()) {
    if (view.section != DnsSection::authority || view.type != DnsType::soa ||
        view.klass != DnsClass::internet || !end.is_in(view.owner)) {
      continue;
    }
    auto record = copy_record(reply, view);
    if (!record) continue;
    std::chrono::seconds minimum(load_be32(&record->rdata[record->rdata.size() - 4]));
    limit_lifetime(answer, std::min(minimum, std::chrono::seconds(record->ttl_seconds)));
    limit_lifetime(answer, kMaxNegativeLifetime);
    answer.soa = std::move(*record);
    return;
  }
  answer.lifetime = std::chrono::seconds(0);
}

}  // namespace

std::optional<Answer> keep_chain(const DnsMessage& reply, const DnsName& name, DnsType type) {
  DnsRcode rcode = reply.rcode();
  if (rcode != DnsRcode::no_error && rcode != DnsRcode::name_error) return std::nullopt;

  Answer answer;
  answer.lifetime = kMaxLifetime;
  note_name(answer, name);
  DnsName current = name;
  for (int aliases = 0;; ++aliases) {
    std::size_t before = answer.records.size();
    if (!append_records(reply, current, type, answer)) return std::nullopt;
    if (answer.records.size() > before) return answer;

    auto alias = std::find_if(
        reply.records().begin(), reply.records().end(),
        [&](const DnsRecordView& view) { return is_answer_for(view, current, DnsType::cname); });
    if (alias == reply.records().end()) break;
    // A loop runs into the same limit as a chain that is too long.
    if (aliases == kMaxAliases) return std::nullopt;
    auto record = copy_record(reply, *alias);
    if (!record) return std::nullopt;
    auto target = DnsName::read(record->rdata, 0);
    if (!target) return std::nullopt;
    current = std::move(target->name);
    limit_lifetime(answer, std::chrono::seconds(record->ttl_seconds));
    note_name(answer, current);
    answer.records.push_back(std::move(*record));
  }
  answer.rcode = rcode;
  attach_soa(reply, current, answer);
  return answer;
}

Record make_soa(const DnsName& owner, const DnsName& server, std::uint32_t ttl_seconds) {
  Record record{owner, DnsType::soa, ttl_seconds, {}};
  for (int i = 0; i < 2; ++i) {
    record.rdata.insert(record.rdata.end(), server.wire().begin(), server.wire().end());
  }
  std::size_t at = record.rdata.size();
  record.rdata.resize(at + kSoaNumbersBytes);
  for (std::uint32_t number : {1u, 3600u, 600u, 86400u, ttl_seconds}) {
    store_be32(&record.rdata[at], number);
    at += 4;
  }
  return record;
}

Answer make_negative(DnsRcode rcode, Record soa) {
  Answer answer;
  answer.rcode = rcode;
  answer.soa = std::move(soa);
  return answer;
}

}  // namespace sluice::dns
