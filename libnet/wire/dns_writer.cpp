#include "wire/dns_writer.h"

#include <algorithm>

#include "wire/dns_rdata.h"

namespace sluice::wire {

namespace {

/// Suffixes remembered for compression; more would cost time that saves few bytes.
constexpr std::size_t kMaxSuffixes = 64;
/// What a compression pointer can reach.
constexpr std::size_t kMaxPointerTarget = 0x3fff;
constexpr std::uint16_t kPaddingOption = 12;
constexpr std::uint16_t kExtendedErrorOption = 15;
constexpr std::size_t kOptionHeaderBytes = 4;
constexpr std::size_t kCountsOffset = 4;

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

std::uint16_t flags_of(const DnsHeader& header) {
  unsigned flags = static_cast<unsigned>(header.opcode) << 11 | (header.rcode & 0xfu);
  if (header.response) flags |= 0x8000;
  if (header.authoritative) flags |= 0x0400;
  if (header.truncated) flags |= 0x0200;
  if (header.recursion_desired) flags |= 0x0100;
  if (header.recursion_available) flags |= 0x0080;
  if (header.authentic_data) flags |= 0x0020;
  if (header.checking_disabled) flags |= 0x0010;
  return static_cast<std::uint16_t>(flags);
}

}  // namespace

DnsWriter::DnsWriter(const DnsHeader& header, std::size_t limit_bytes)
    : limit_(std::clamp(limit_bytes, kDnsHeaderBytes, kDnsMaxMessageBytes)) {
  out_.reserve(std::min(limit_, kDnsMinUdpBytes));
  u16(header.id);
  u16(flags_of(header));
  u32(0);
  u32(0);
}

bool DnsWriter::question(const DnsQuestion& question) {
  if (out_.size() + question.name.wire().size() + 4 > limit_) return false;
  name(question.name);
  u16(static_cast<std::uint16_t>(question.type));
  u16(static_cast<std::uint16_t>(question.klass));
  count(kCountsOffset);
  return true;
}

bool DnsWriter::record(DnsSection section, const DnsName& owner, DnsType type,
                       std::uint32_t ttl_seconds, ConstBytes data) {
  std::size_t start = out_.size();
  std::size_t remembered = suffixes_.size();
  name(owner);
  u16(static_cast<std::uint16_t>(type));
  u16(static_cast<std::uint16_t>(DnsClass::internet));
  u32(ttl_seconds);
  std::size_t length_at = out_.size();
  u16(0);
  rdata(type, data);
  // A length that does not fit here is over the limit too, and the record goes again.
  store_be16(&out_[length_at], static_cast<std::uint16_t>(out_.size() - length_at - 2));
  return end_record(start, remembered, section);
}

bool DnsWriter::edns(const DnsEdns& edns, std::optional<ExtendedError> error,
                     std::size_t block_bytes) {
  std::size_t start = out_.size();
  out_.push_back(0);
  u16(static_cast<std::uint16_t>(DnsType::opt));
  u16(edns.udp_bytes);
  out_.push_back(edns.extended_rcode);
  out_.push_back(edns.version);
  u16(0);
  std::size_t length_at = out_.size();
  u16(0);
  if (error) {
    u16(kExtendedErrorOption);
    u16(static_cast<std::uint16_t>(2 + error->text.size()));
    u16(static_cast<std::uint16_t>(error->code));
    out_.insert(out_.end(), error->text.begin(), error->text.end());
  }
  if (block_bytes > 0) {
    std::size_t over = (out_.size() + kOptionHeaderBytes) % block_bytes;
    std::size_t padding = over == 0 ? 0 : block_bytes - over;
    u16(kPaddingOption);
    u16(static_cast<std::uint16_t>(padding));
    out_.resize(out_.size() + padding);
  }
  store_be16(&out_[length_at], static_cast<std::uint16_t>(out_.size() - length_at - 2));
  return end_record(start, suffixes_.size(), DnsSection::additional);
}

bool DnsWriter::end_record(std::size_t start, std::size_t remembered, DnsSection section) {
  if (out_.size() > limit_) {
    out_.resize(start);
    suffixes_.resize(remembered);
    return false;
  }
  count(kCountsOffset + 2 + 2 * static_cast<std::size_t>(section));
  return true;
}

void DnsWriter::name(const DnsName& name) {
  std::string_view rest = name.wire();
  std::size_t complete = suffixes_.size();
  while (rest.size() > 1) {
    if (auto target = find_suffix(rest, complete)) {
      u16(static_cast<std::uint16_t>(0xc000u | *target));
      return;
    }
    if (suffixes_.size() < kMaxSuffixes && out_.size() <= kMaxPointerTarget) {
      suffixes_.push_back(static_cast<std::uint16_t>(out_.size()));
    }
    auto label = rest.substr(0, 1u + static_cast<std::uint8_t>(rest[0]));
    out_.insert(out_.end(), label.begin(), label.end());
    rest.remove_prefix(label.size());
  }
  out_.push_back(0);
}

void DnsWriter::rdata(DnsType type, ConstBytes data) {
  const auto* layout = rdata_layout(type);
  std::size_t at = 0;
  if (layout && layout->may_compress && data.size() >= layout->prefix) {
    at = layout->prefix;
    out_.insert(out_.end(), data.begin(), data.begin() + static_cast<long>(at));
    for (int names = layout->names; names > 0; --names) {
      auto read = DnsName::read(data, at);
      if (!read) break;
      name(read->name);
      at = read->end;
    }
  }
  out_.insert(out_.end(), data.begin() + static_cast<long>(at), data.end());
}

std::optional<std::uint16_t> DnsWriter::find_suffix(std::string_view suffix,
                                                    std::size_t candidates) const {
  for (std::size_t i = 0; i < candidates; ++i) {
    if (suffix_at(suffixes_[i], suffix)) return suffixes_[i];
  }
  return std::nullopt;
}

bool DnsWriter::suffix_at(std::size_t offset, std::string_view suffix) const {
  // Only names that this writer wrote are looked at, so every pointer is followed backwards.
  for (;;) {
    std::uint8_t length = out_[offset];
    if (length >= 0xc0) {
      offset = load_be16(&out_[offset]) & 0x3fffu;
      continue;
    }
    if (length != static_cast<std::uint8_t>(suffix[0])) return false;
    if (length == 0) return true;
    for (std::size_t i = 1; i <= length; ++i) {
      if (lower(static_cast<char>(out_[offset + i])) != lower(suffix[i])) return false;
    }
    offset += 1u + length;
    suffix.remove_prefix(1u + length);
  }
}

void DnsWriter::count(std::size_t header_offset) {
  store_be16(&out_[header_offset], static_cast<std::uint16_t>(load_be16(&out_[header_offset]) + 1));
}

void DnsWriter::u16(std::uint16_t value) {
  out_.resize(out_.size() + 2);
  store_be16(&out_[out_.size() - 2], value);
}

void DnsWriter::u32(std::uint32_t value) {
  out_.resize(out_.size() + 4);
  store_be32(&out_[out_.size() - 4], value);
}

}  // namespace sluice::wire
