#pragma once

#include <algorithm>
#include <optional>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "wire/dns.h"

namespace sluice::wire {

/// Builds one DNS message, names compressed. Sections are written in order: question, answer,
/// authority, additional. What would pass the limit is not written at all, and the call says so.
class DnsWriter {
 public:
  /// `limit_bytes`: the longest message; at least a header, at most 65535.
  DnsWriter(const DnsHeader& header, std::size_t limit_bytes);

  bool question(const DnsQuestion& question);
  /// `rdata` has its names uncompressed (expand_rdata()). Class IN.
  bool record(DnsSection section, const DnsName& owner, DnsType type, std::uint32_t ttl_seconds,
              ConstBytes rdata);

  struct ExtendedError {
    DnsExtendedError code;
    std::string_view text;  ///< For people, ASCII; may be empty.
  };
  /// The OPT record of RFC 6891, always the last. Where `block_bytes` is not 0, with padding that
  /// makes the message a multiple of it (RFC 7830): for what is encrypted, and nothing else.
  bool edns(const DnsEdns& edns, std::optional<ExtendedError> error, std::size_t block_bytes = 0);

  /// Gives room that was held back, for what must come last. At most 65535.
  void raise_limit(std::size_t limit_bytes) { limit_ = std::min(limit_bytes, kDnsMaxMessageBytes); }
  std::vector<std::uint8_t> finish() && { return std::move(out_); }

 private:
  bool end_record(std::size_t start, std::size_t remembered, DnsSection section);
  void name(const DnsName& name);
  void u16(std::uint16_t value);
  void u32(std::uint32_t value);
  void rdata(DnsType type, ConstBytes data);
  /// The offset of one of the first `candidates` suffixes remembered, those of names that are
  /// written to their end, that equals `suffix` (wire form).
  std::optional<std::uint16_t> find_suffix(std::string_view suffix, std::size_t candidates) const;
  bool suffix_at(std::size_t offset, std::string_view suffix) const;
  void count(std::size_t header_offset);

  std::size_t limit_;
  std::vector<std::uint8_t> out_;
  std::vector<std::uint16_t> suffixes_;
};

}  // namespace sluice::wire
