#include "dns/upstream_query.h"

#include <algorithm>

#include "wire/dns_writer.h"

namespace sluice::dns {

using wire::DnsRcode;

namespace {

/// RFC 8467 section 4.1.
constexpr std::size_t kQueryBlockBytes = 128;

std::string_view refusal_of(DnsRcode rcode) {
  switch (rcode) {
    case DnsRcode::server_failure:
      return "it answered SERVFAIL";
    case DnsRcode::refused:
      return "it answered REFUSED";
    default:
      return kNonsense;
  }
}

}  // namespace

std::vector<std::uint8_t> encode_query(std::uint16_t id, const wire::DnsQuestion& question,
                                       Privacy privacy) {
  wire::DnsHeader header;
  header.id = id;
  header.recursion_desired = true;
  wire::DnsWriter writer(header, wire::kDnsMinUdpBytes);
  writer.question(question);
  wire::DnsEdns edns;
  edns.udp_bytes = wire::kDnsEdnsUdpBytes;
  writer.edns(edns, std::nullopt, privacy == Privacy::encrypted ? kQueryBlockBytes : 0);
  auto message = std::move(writer).finish();
  std::vector<std::uint8_t> request(wire::kDnsLengthPrefixBytes + message.size());
  store_be16(request.data(), static_cast<std::uint16_t>(message.size()));
  std::copy(message.begin(), message.end(), request.begin() + wire::kDnsLengthPrefixBytes);
  return request;
}

bool is_reply_to(const wire::DnsMessage& message, std::uint16_t id,
                 const wire::DnsQuestion& question) {
  const auto& header = message.header();
  if (!header.response || header.id != id || header.opcode != wire::DnsOpcode::query) return false;
  if (message.questions().size() != 1) return false;
  const auto& echoed = message.questions()[0];
  return echoed.type == question.type && echoed.klass == question.klass &&
         echoed.name.same_as(question.name);
}

UpstreamReply read_reply(const wire::DnsMessage& message, const wire::DnsQuestion& question) {
  auto answer = keep_chain(message, question.name.lowered(), question.type);
  auto outcome = answer ? UpstreamQuery::Outcome::answered : UpstreamQuery::Outcome::refused;
  return {outcome, std::move(answer), refusal_of(static_cast<DnsRcode>(message.header().rcode))};
}

}  // namespace sluice::dns
