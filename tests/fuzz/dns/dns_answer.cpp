// Any bytes from a resolver, as the answer to the first question that they hold.

#include <cstddef>
#include <cstdint>

#include "check.h"
#include "dns/answer.h"
#include "dns/query.h"
#include "wire/dns_rdata.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace sluice;
  auto reply = wire::DnsMessage::parse({data, size});
  if (!reply || reply->questions().empty()) return 0;
  const auto& question = reply->questions()[0];
  auto answer = dns::keep_chain(*reply, question.name, question.type);
  if (!answer) return 0;

  FUZZ_CHECK(answer->names.size() <= dns::kMaxAliases + 1);
  FUZZ_CHECK(answer->lifetime >= std::chrono::seconds(0) && answer->lifetime <= dns::kMaxLifetime);
  // Aliases, each of the name that the one before leads to; then the asked type.
  wire::DnsName current = question.name;
  for (const auto& record : answer->records) {
    FUZZ_CHECK(record.owner.same_as(current));
    if (record.type == question.type) continue;
    FUZZ_CHECK(record.type == wire::DnsType::cname);
    current = wire::DnsName::read(record.rdata, 0)->name;
  }
  if (answer->soa) FUZZ_CHECK(current.is_in(answer->soa->owner));

  dns::Query query;
  query.question = question;
  query.reply_limit_bytes = wire::kDnsMaxMessageBytes;
  auto sent = dns::build_reply(query, *answer, std::chrono::seconds(1), std::nullopt);
  FUZZ_CHECK(wire::DnsMessage::parse(sent.message));
  return 0;
}
