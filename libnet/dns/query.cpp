#include "dns/query.h"

#include <algorithm>

namespace sluice::dns {

using wire::DnsClass;
using wire::DnsEdns;
using wire::DnsHeader;
using wire::DnsMessage;
using wire::DnsOpcode;
using wire::DnsQuestion;
using wire::DnsRcode;
using wire::DnsSection;
using wire::DnsType;
using wire::DnsWriter;

namespace {

/// RFC 6895 section 3.1: 128 to 254 are meta-types (transfers, TKEY, TSIG); OPT is no question.
bool is_meta_type(DnsType type) {
  auto value = static_cast<std::uint16_t>(type);
  return type == DnsType::opt || value == 0 || (value >= 128 && value < 255);
}

DnsHeader reply_header(const DnsHeader& query, DnsRcode rcode) {
  DnsHeader header;
  header.id = query.id;
  header.response = true;
  header.opcode = query.opcode;
  header.recursion_desired = query.recursion_desired;
  header.recursion_available = true;
  header.checking_disabled = query.checking_disabled;
  header.rcode = static_cast<std::uint8_t>(static_cast<unsigned>(rcode) & 0xf);
  return header;
}

DnsEdns reply_edns(DnsRcode rcode) {
  DnsEdns edns;
  edns.udp_bytes = wire::kDnsEdnsUdpBytes;
  edns.extended_rcode = static_cast<std::uint8_t>(static_cast<unsigned>(rcode) >> 4);
  return edns;
}

CheckedQuery fail(const DnsHeader& query, DnsRcode rcode, const DnsMessage* message = nullptr) {
  DnsWriter writer(reply_header(query, rcode), wire::kDnsMinUdpBytes);
  if (message) {
    if (message->questions().size() == 1) writer.question(message->questions()[0]);
    if (message->edns_state() == DnsMessage::EdnsState::valid) {
      writer.edns(reply_edns(rcode), std::nullopt);
    }
  }
  return {std::nullopt, std::move(writer).finish(), rcode};
}

bool is_well_formed_query(const DnsMessage& message) {
  auto is_additional = [](const auto& record) { return record.section == DnsSection::additional; };
  return message.questions().size() == 1 && message.trailing_bytes() == 0 &&
         message.edns_state() != DnsMessage::EdnsState::malformed &&
         std::all_of(message.records().begin(), message.records().end(), is_additional);
}

std::uint32_t lessen(std::uint32_t ttl_seconds, std::chrono::seconds age) {
  return static_cast<std::uint32_t>(std::max<std::int64_t>(0, ttl_seconds - age.count()));
}

/// False where the limit was reached.
bool write_records(DnsWriter& writer, const Answer& answer, std::chrono::seconds age) {
  for (const auto& record : answer.records) {
    if (!writer.record(DnsSection::answer, record.owner, record.type,
                       lessen(record.ttl_seconds, age), record.rdata)) {
      return false;
    }
  }
  if (!answer.soa) return true;
  return writer.record(DnsSection::authority, answer.soa->owner, answer.soa->type,
                       lessen(answer.soa->ttl_seconds, age), answer.soa->rdata);
}

}  // namespace

CheckedQuery check_query(ConstBytes bytes, Transport transport, std::size_t max_udp_bytes) {
  auto header = DnsMessage::parse_header(bytes);
  if (!header || header->response) return {};
  if (header->opcode != DnsOpcode::query) return fail(*header, DnsRcode::not_implemented);
  auto message = DnsMessage::parse(bytes);
  if (!message) return fail(*header, DnsRcode::format_error);
  if (!is_well_formed_query(*message)) return fail(*header, DnsRcode::format_error, &*message);

  bool has_edns = message->edns_state() == DnsMessage::EdnsState::valid;
  if (has_edns && message->edns().version != 0) {
    return fail(*header, DnsRcode::bad_version, &*message);
  }
  const DnsQuestion& question = message->questions()[0];
  if (question.klass != DnsClass::internet) return fail(*header, DnsRcode::refused, &*message);
  if (is_meta_type(question.type)) return fail(*header, DnsRcode::not_implemented, &*message);

  std::size_t limit = wire::kDnsMaxMessageBytes;
  if (transport == Transport::udp) {
    std::size_t asked = has_edns ? message->edns().udp_bytes : wire::kDnsMinUdpBytes;
    limit =
        std::clamp(asked, wire::kDnsMinUdpBytes, std::max(wire::kDnsMinUdpBytes, max_udp_bytes));
  }
  return {Query{*header, question, has_edns, limit}, {}, DnsRcode::no_error};
}

Reply build_reply(const Query& query, const Answer& answer, std::chrono::seconds age,
                  std::optional<ExtendedError> error) {
  DnsHeader header = reply_header(query.header, answer.rcode);
  header.authoritative = answer.authoritative;
  // The OPT goes last but must find room.
  std::size_t edns_bytes = query.has_edns ? 11 + (error ? 6 + error->text.size() : 0) : 0;
  DnsWriter writer(header, query.reply_limit_bytes - edns_bytes);
  // The longest question and our longest OPT are far below 512 bytes.
  writer.question(query.question);
  bool truncated = !write_records(writer, answer, age);
  if (truncated) {
    header.truncated = true;
    writer = DnsWriter(header, query.reply_limit_bytes);
    writer.question(query.question);
  }
  writer.raise_limit(query.reply_limit_bytes);
  if (query.has_edns) writer.edns(reply_edns(answer.rcode), error);
  return {std::move(writer).finish(), truncated};
}

}  // namespace sluice::dns
