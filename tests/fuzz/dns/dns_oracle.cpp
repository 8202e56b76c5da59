// Any bytes as a DNS message, for this parser and for ldns. What both read must be the same; where
// one refuses what the other takes, it must be for a reason that is written down here.

// Without it ldns makes `bool` and `false` macros of its own.
#include <stdbool.h>

#include <ldns/ldns.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <vector>

#include "check.h"
#include "dns/rewritten.h"
#include "wire/dns_message.h"
#include "wire/dns_rdata.h"

namespace {

using namespace sluice;
using namespace sluice::wire;

struct Free {
  void operator()(ldns_rr* rr) const { ldns_rr_free(rr); }
  void operator()(ldns_pkt* packet) const { ldns_pkt_free(packet); }
  void operator()(ldns_buffer* buffer) const { ldns_buffer_free(buffer); }
};
using LdnsRecord = std::unique_ptr<ldns_rr, Free>;
using LdnsMessage = std::unique_ptr<ldns_pkt, Free>;

LdnsMessage ldns_message(ConstBytes bytes) {
  ldns_pkt* packet = nullptr;
  bool is_read = ldns_wire2pkt(&packet, bytes.data(), bytes.size()) == LDNS_STATUS_OK;
  return LdnsMessage(is_read ? packet : nullptr);
}

struct Place {
  LdnsRecord record;
  std::size_t end = 0;
};

/// The question or record at `at`; none where ldns refuses it.
Place ldns_record(ConstBytes bytes, std::size_t at, ldns_pkt_section section) {
  ldns_rr* record = nullptr;
  bool is_read = ldns_wire2rr(&record, bytes.data(), bytes.size(), &at, section) == LDNS_STATUS_OK;
  return {LdnsRecord(is_read ? record : nullptr), at};
}

bool is_name(const ldns_rdf* theirs, const DnsName& ours) {
  return ldns_rdf_size(theirs) == ours.wire().size() &&
         std::memcmp(ldns_rdf_data(theirs), ours.wire().data(), ours.wire().size()) == 0;
}

/// The record's data, its names uncompressed.
std::vector<std::uint8_t> data_of(const ldns_rr* record) {
  std::unique_ptr<ldns_buffer, Free> buffer(ldns_buffer_new(512));
  FUZZ_CHECK(ldns_rr_rdata2buffer_wire(buffer.get(), record) == LDNS_STATUS_OK);
  const std::uint8_t* begin = ldns_buffer_begin(buffer.get());
  return {begin, begin + ldns_buffer_position(buffer.get())};
}

std::uint32_t whole_ttl(const DnsMessage& message, const DnsRecordView& record) {
  return load_be32(&message.bytes()[record.rdata_offset - 6]);
}

/// Types whose data ldns takes apart although no name in it can be compressed. Here it is bytes
/// (RFC 3597), and passed on as such: what it means is the business of who asked for it.
bool is_opaque(DnsType type) {
  return type != DnsType::a && type != DnsType::aaaa && rdata_layout(type) == nullptr &&
         type != DnsType{35};  // NAPTR, which has a layout of its own
}

/// What ldns made of a record.
enum class Theirs {
  same,
  refused,
  /// It read less than the record's length says and takes the next from there, or leaves the last
  /// ones unread, so what it makes of the rest of the message means nothing.
  lost,
};

/// Of the additional records ldns takes a TSIG off the count by which it goes on reading, so that
/// it leaves the last record unread (where a TSIG is itself the last, as RFC 8945 section 5.1 has
/// it, there is none to leave).
bool ends_early_at(DnsSection section, DnsType type) {
  return section == DnsSection::additional && type == DnsType{250};
}

/// Whether ldns looks for a name in the data of this type, and may follow a pointer in it.
bool ldns_reads_name(DnsType type) {
  // More than any type has; from some field on they may all be of one kind, without an end.
  constexpr std::size_t kMostFields = 16;
  const auto* layout = ldns_rr_descript(static_cast<std::uint16_t>(type));
  for (std::size_t i = 0; i < std::min(kMostFields, ldns_rr_descriptor_maximum(layout)); ++i) {
    if (ldns_rr_descriptor_field_type(layout, i) == LDNS_RDF_TYPE_DNAME) return true;
  }
  return false;
}

Theirs check_record(const DnsMessage& message, const DnsRecordView& ours, const Place& theirs) {
  auto rdata = expand_rdata(message, ours);
  if (!theirs.record) {
    FUZZ_CHECK(!rdata || is_opaque(ours.type));
    return Theirs::refused;
  }
  const ldns_rr* record = theirs.record.get();
  FUZZ_CHECK(is_name(ldns_rr_owner(record), ours.owner));
  FUZZ_CHECK(ldns_rr_get_type(record) == static_cast<ldns_rr_type>(ours.type));
  FUZZ_CHECK(ldns_rr_get_class(record) == static_cast<ldns_rr_class>(ours.klass));
  FUZZ_CHECK(ldns_rr_ttl(record) == whole_ttl(message, ours));
  std::size_t end = ours.rdata_offset + ours.rdata.size();
  if (theirs.end != end) {
    FUZZ_CHECK(!rdata || is_opaque(ours.type));
    return Theirs::lost;
  }
  if (rdata && !(is_opaque(ours.type) && ldns_reads_name(ours.type))) {
    FUZZ_CHECK(data_of(record) == *rdata);
  }
  return Theirs::same;
}

void check_header(const DnsHeader& ours, const ldns_pkt* theirs) {
  FUZZ_CHECK(ldns_pkt_id(theirs) == ours.id);
  FUZZ_CHECK(ldns_pkt_qr(theirs) == ours.response);
  FUZZ_CHECK(ldns_pkt_get_opcode(theirs) == static_cast<ldns_pkt_opcode>(ours.opcode));
  FUZZ_CHECK(ldns_pkt_aa(theirs) == ours.authoritative);
  FUZZ_CHECK(ldns_pkt_tc(theirs) == ours.truncated);
  FUZZ_CHECK(ldns_pkt_rd(theirs) == ours.recursion_desired);
  FUZZ_CHECK(ldns_pkt_ra(theirs) == ours.recursion_available);
  FUZZ_CHECK(ldns_pkt_ad(theirs) == ours.authentic_data);
  FUZZ_CHECK(ldns_pkt_cd(theirs) == ours.checking_disabled);
  FUZZ_CHECK(ldns_pkt_get_rcode(theirs) == static_cast<ldns_pkt_rcode>(ours.rcode));
}

/// The worst that ldns made of a record. It takes every question.
Theirs check_contents(const DnsMessage& message) {
  Theirs worst = Theirs::same;
  std::size_t at = kDnsHeaderBytes;
  for (const auto& question : message.questions()) {
    Place theirs = ldns_record(message.bytes(), at, LDNS_SECTION_QUESTION);
    FUZZ_CHECK(theirs.record);
    const ldns_rr* record = theirs.record.get();
    FUZZ_CHECK(is_name(ldns_rr_owner(record), question.name));
    FUZZ_CHECK(ldns_rr_get_type(record) == static_cast<ldns_rr_type>(question.type));
    FUZZ_CHECK(ldns_rr_get_class(record) == static_cast<ldns_rr_class>(question.klass));
    at = theirs.end;
  }
  for (const auto& record : message.records()) {
    Place theirs = ldns_record(message.bytes(), at, LDNS_SECTION_ANSWER);
    worst = std::max(worst, check_record(message, record, theirs));
    if (ends_early_at(record.section, record.type)) worst = Theirs::lost;
    at = record.rdata_offset + record.rdata.size();
  }
  FUZZ_CHECK(message.bytes().size() - at == message.trailing_bytes());
  return worst;
}

void check_edns(const DnsMessage& message, const ldns_pkt* theirs) {
  if (message.edns_state() != DnsMessage::EdnsState::valid) return;
  FUZZ_CHECK(ldns_pkt_edns(theirs));
  FUZZ_CHECK(ldns_pkt_edns_udp_size(theirs) == message.edns().udp_bytes);
  FUZZ_CHECK(ldns_pkt_edns_version(theirs) == message.edns().version);
  FUZZ_CHECK(ldns_pkt_edns_extended_rcode(theirs) == message.edns().extended_rcode);
}

/// What this parser refuses and ldns does not: a compression pointer that leads forward, to itself
/// or into the header, more records than an honest message has, and a message in which ldns lost
/// its place.
bool is_refused_knowingly(ConstBytes bytes) {
  std::size_t records = 0;
  for (std::size_t at : {6, 8, 10}) records += load_be16(&bytes[at]);
  std::size_t questions = load_be16(&bytes[4]);
  std::size_t additional = questions + records - load_be16(&bytes[10]);
  if (records > DnsMessage::kMaxRecords || questions > DnsMessage::kMaxRecords) return true;
  std::size_t at = kDnsHeaderBytes;
  for (std::size_t i = 0; i < questions + records; ++i) {
    std::size_t begin = at;
    std::optional<std::size_t> end;
    for (std::size_t start = at; at < bytes.size() && bytes[at] != 0;) {
      if (bytes[at] < 0xc0) {
        at += 1u + bytes[at];
        continue;
      }
      if (at + 1 >= bytes.size()) return false;
      std::size_t target = load_be16(&bytes[at]) & 0x3fffu;
      if (target < kDnsHeaderBytes || target >= start) return true;
      if (!end) end = at + 2;
      at = start = target;
    }
    at = end.value_or(at + 1) + 4;
    if (i < questions) continue;
    if (at + 6 > bytes.size()) return false;
    DnsType type{load_be16(&bytes[at - 4])};
    if (i >= additional && ends_early_at(DnsSection::additional, type)) return true;
    at += 6u + load_be16(&bytes[at + 4]);
    Place theirs = ldns_record(bytes, begin, LDNS_SECTION_ANSWER);
    if (theirs.record && theirs.end != at) return true;
  }
  return false;
}

/// What this writer makes of the message is the same message for ldns.
void check_written(const DnsMessage& message) {
  fuzz::Rewritten written = fuzz::rewrite(message, is_opaque);
  auto whole = ldns_message(written.bytes);
  FUZZ_CHECK(whole);
  check_header(message.header(), whole.get());
  FUZZ_CHECK(check_contents(fuzz::read_again(written)) == Theirs::same);
}

}  // namespace

/// ldns loses what it made of a TSIG where it refuses a record after it.
extern "C" const char* __lsan_default_suppressions() {
  return "leak:libldns";
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ConstBytes bytes(data, size);
  auto ours = DnsMessage::parse(bytes);
  auto theirs = ldns_message(bytes);
  if (!ours) {
    FUZZ_CHECK(!theirs || is_refused_knowingly(bytes));
    return 0;
  }
  Theirs worst = check_contents(*ours);
  FUZZ_CHECK(worst == Theirs::lost || (worst == Theirs::same) == (theirs != nullptr));
  if (theirs && worst == Theirs::same) {
    check_header(ours->header(), theirs.get());
    check_edns(*ours, theirs.get());
  }
  check_written(*ours);
  return 0;
}
