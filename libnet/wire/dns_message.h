#pragma once

#include <optional>
#include <span>
#include <vector>

#include "base/bytes.h"
#include "wire/dns.h"

namespace sluice::wire {

/// A record where it lies in a message. `rdata` may hold compressed names: see expand_rdata().
struct DnsRecordView {
  DnsSection section = DnsSection::answer;
  DnsName owner;
  DnsType type = DnsType::a;
  DnsClass klass = DnsClass::internet;
  std::uint32_t ttl_seconds = 0;  ///< 0 where the top bit was set (RFC 2181 section 8).
  std::size_t rdata_offset = 0;   ///< In the message.
  ConstBytes rdata;
};

/// A DNS message whose every name, count and length has been checked. The bytes are the caller's
/// and outlive the view.
class DnsMessage {
 public:
  /// More records than an honest answer has; a message with more is refused.
  static constexpr std::size_t kMaxRecords = 1024;

  /// Only the fixed header, for a reply to what parse() refuses. Nothing below 12 bytes.
  static std::optional<DnsHeader> parse_header(ConstBytes message);
  /// Nothing where the header, a question or a record is cut off or malformed, or where the counts
  /// promise more than there is.
  static std::optional<DnsMessage> parse(ConstBytes message);

  const DnsHeader& header() const { return header_; }
  std::span<const DnsQuestion> questions() const { return questions_; }
  /// In the order of the message, OPT included.
  std::span<const DnsRecordView> records() const { return records_; }
  ConstBytes bytes() const { return bytes_; }
  /// Bytes after the last record that no count accounts for.
  std::size_t trailing_bytes() const { return trailing_bytes_; }

  enum class EdnsState { absent, valid, malformed };
  /// `malformed`: more than one OPT record, one outside the additional section, an owner that is
  /// not the root, or options that don't fill it exactly (RFC 6891 section 6.1).
  EdnsState edns_state() const { return edns_state_; }
  /// Requires edns_state() == valid.
  const DnsEdns& edns() const { return edns_; }
  /// Response code with the EDNS bits, where there are any.
  DnsRcode rcode() const;

 private:
  explicit DnsMessage(ConstBytes bytes) : bytes_(bytes) {}
  bool read_questions(std::size_t count, std::size_t& at);
  bool read_records(DnsSection section, std::size_t count, std::size_t& at);
  void note_edns(const DnsRecordView& record);

  ConstBytes bytes_;
  DnsHeader header_;
  std::vector<DnsQuestion> questions_;
  std::vector<DnsRecordView> records_;
  std::size_t trailing_bytes_ = 0;
  EdnsState edns_state_ = EdnsState::absent;
  DnsEdns edns_;
};

}  // namespace sluice::wire
