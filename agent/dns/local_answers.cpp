#include "agent/dns/local_answers.h"

#include <algorithm>

#include "dns/local_zone.h"

namespace sluice::agent {

namespace {

using dns::Answer;
using wire::DnsName;
using wire::DnsRcode;
using wire::DnsType;

constexpr auto kTtlSeconds = static_cast<std::uint32_t>(kLocalTtl.count());

Answer negative(DnsRcode rcode, const DnsName& zone, const DomainName& server) {
  Answer answer = dns::make_negative(rcode, dns::make_soa(zone, DnsName(server), kTtlSeconds));
  answer.authoritative = true;
  return answer;
}

Answer refusal() {
  Answer answer;
  answer.rcode = DnsRcode::refused;
  return answer;
}

Answer positive() {
  Answer answer;
  answer.authoritative = true;
  return answer;
}

std::optional<Answer> answer_reverse(const NameRegistry& registry,
                                     const std::vector<IpPrefix>& own_prefixes,
                                     const IpAddress& address, const wire::DnsQuestion& question,
                                     const NameView& view) {
  bool is_own = std::any_of(own_prefixes.begin(), own_prefixes.end(),
                            [&](const IpPrefix& prefix) { return prefix.contains(address); });
  if (!is_own && !registry.has_address(address)) return std::nullopt;
  if (question.type == DnsType::any) return refusal();
  auto name = registry.name_of(address, view);
  if (!name) return negative(DnsRcode::name_error, question.name, registry.suffix());
  if (question.type != DnsType::ptr) {
    return negative(DnsRcode::no_error, question.name, registry.suffix());
  }
  Answer answer = positive();
  DnsName target(*name);
  answer.records.push_back(
      {question.name, DnsType::ptr, kTtlSeconds, {target.wire().begin(), target.wire().end()}});
  return answer;
}

Answer answer_suffix(const DomainName& suffix, const wire::DnsQuestion& question) {
  if (question.type == DnsType::any) return refusal();
  if (question.type != DnsType::soa) {
    return negative(DnsRcode::no_error, DnsName(suffix), suffix);
  }
  Answer answer = positive();
  answer.records.push_back(dns::make_soa(DnsName(suffix), DnsName(suffix), kTtlSeconds));
  return answer;
}

}  // namespace

std::optional<Answer> answer_locally(const NameRegistry& registry,
                                     const std::vector<IpPrefix>& own_prefixes,
                                     const wire::DnsQuestion& question, const NameView& view) {
  const DomainName& suffix = registry.suffix();
  auto name = question.name.domain();
  if (!name) {
    // Bytes that no name here has.
    if (!question.name.is_in(DnsName(suffix))) return std::nullopt;
    return negative(DnsRcode::name_error, DnsName(suffix), suffix);
  }
  if (name->is_root() || name->is_in(gateway_zone())) return std::nullopt;
  if (auto address = dns::reverse_address(*name)) {
    return answer_reverse(registry, own_prefixes, *address, question, view);
  }
  if (*name == suffix) return answer_suffix(suffix, question);

  bool in_suffix = name->is_in(suffix);
  DnsName zone(in_suffix ? suffix : *name);
  Family family = question.type == DnsType::aaaa ? Family::v6 : Family::v4;
  auto found = registry.find(*name, family, view);
  if (!found.exists) {
    if (!in_suffix) return std::nullopt;
    bool has_more = registry.exists_below(*name, view);
    return negative(has_more ? DnsRcode::no_error : DnsRcode::name_error, zone, suffix);
  }
  if (question.type == DnsType::any) return refusal();
  bool asks_address = question.type == DnsType::a || question.type == DnsType::aaaa;
  if (!asks_address || found.addresses.empty()) return negative(DnsRcode::no_error, zone, suffix);
  Answer answer = positive();
  for (const IpAddress& address : found.addresses) {
    auto bytes = address.bytes();
    answer.records.push_back(
        {question.name, question.type, kTtlSeconds, {bytes.begin(), bytes.end()}});
  }
  return answer;
}

}  // namespace sluice::agent
