#include "wire/dns_message.h"

namespace sluice::wire {

namespace {

/// Type, class, TTL and data length, after a record's owner.
constexpr std::size_t kRecordFixedBytes = 10;
constexpr std::size_t kQuestionFixedBytes = 4;
constexpr std::size_t kOptionHeaderBytes = 4;

bool options_fill(ConstBytes rdata) {
  while (!rdata.empty()) {
    if (rdata.size() < kOptionHeaderBytes) return false;
    std::size_t size = kOptionHeaderBytes + load_be16(&rdata[2]);
    if (rdata.size() < size) return false;
    rdata = rdata.subspan(size);
  }
  return true;
}

}  // namespace

std::optional<DnsHeader> DnsMessage::parse_header(ConstBytes message) {
  if (message.size() < kDnsHeaderBytes) return std::nullopt;
  std::uint16_t flags = load_be16(&message[2]);
  DnsHeader header;
  header.id = load_be16(&message[0]);
  header.response = (flags & 0x8000) != 0;
  header.opcode = static_cast<DnsOpcode>(flags >> 11 & 0xf);
  header.authoritative = (flags & 0x0400) != 0;
  header.truncated = (flags & 0x0200) != 0;
  header.recursion_desired = (flags & 0x0100) != 0;
  header.recursion_available = (flags & 0x0080) != 0;
  header.authentic_data = (flags & 0x0020) != 0;
  header.checking_disabled = (flags & 0x0010) != 0;
  header.rcode = static_cast<std::uint8_t>(flags & 0xf);
  return header;
}

std::optional<DnsMessage> DnsMessage::parse(ConstBytes bytes) {
  auto header = parse_header(bytes);
  if (!header) return std::nullopt;
  DnsMessage message(bytes);
  message.header_ = *header;
  std::size_t at = kDnsHeaderBytes;
  if (!message.read_questions(load_be16(&bytes[4]), at) ||
      !message.read_records(DnsSection::answer, load_be16(&bytes[6]), at) ||
      !message.read_records(DnsSection::authority, load_be16(&bytes[8]), at) ||
      !message.read_records(DnsSection::additional, load_be16(&bytes[10]), at)) {
    return std::nullopt;
  }
  message.trailing_bytes_ = bytes.size() - at;
  return message;
}

bool DnsMessage::read_questions(std::size_t count, std::size_t& at) {
  if (count > kMaxRecords) return false;
  for (; count > 0; --count) {
    auto name = DnsName::read(bytes_, at);
    if (!name || bytes_.size() - name->end < kQuestionFixedBytes) return false;
    questions_.push_back({std::move(name->name),
                          static_cast<DnsType>(load_be16(&bytes_[name->end])),
                          static_cast<DnsClass>(load_be16(&bytes_[name->end + 2]))});
    at = name->end + kQuestionFixedBytes;
  }
  return true;
}

bool DnsMessage::read_records(DnsSection section, std::size_t count, std::size_t& at) {
  if (count > kMaxRecords - records_.size()) return false;
  for (; count > 0; --count) {
    auto name = DnsName::read(bytes_, at);
    if (!name || bytes_.size() - name->end < kRecordFixedBytes) return false;
    const std::uint8_t* fixed = &bytes_[name->end];
    std::size_t rdata_offset = name->end + kRecordFixedBytes;
    std::size_t rdata_bytes = load_be16(fixed + 8);
    if (bytes_.size() - rdata_offset < rdata_bytes) return false;
    std::uint32_t ttl = load_be32(fixed + 4);
    DnsRecordView record{section,
                         std::move(name->name),
                         static_cast<DnsType>(load_be16(fixed)),
                         static_cast<DnsClass>(load_be16(fixed + 2)),
                         ttl,
                         rdata_offset,
                         bytes_.subspan(rdata_offset, rdata_bytes)};
    if (record.type == DnsType::opt) {
      note_edns(record);
    } else if (ttl & 0x80000000u) {
      record.ttl_seconds = 0;
    }
    records_.push_back(std::move(record));
    at = rdata_offset + rdata_bytes;
  }
  return true;
}

void DnsMessage::note_edns(const DnsRecordView& record) {
  bool first = edns_state_ == EdnsState::absent;
  if (!first || record.section != DnsSection::additional || !record.owner.is_root() ||
      !options_fill(record.rdata)) {
    edns_state_ = EdnsState::malformed;
    return;
  }
  edns_state_ = EdnsState::valid;
  edns_.udp_bytes = static_cast<std::uint16_t>(record.klass);
  edns_.extended_rcode = static_cast<std::uint8_t>(record.ttl_seconds >> 24);
  edns_.version = static_cast<std::uint8_t>(record.ttl_seconds >> 16);
}

DnsRcode DnsMessage::rcode() const {
  unsigned high = edns_state_ == EdnsState::valid ? edns_.extended_rcode : 0u;
  return static_cast<DnsRcode>(high << 4 | header_.rcode);
}

}  // namespace sluice::wire
