#include "wire/dns_rdata.h"

#include <algorithm>
#include <array>

namespace sluice::wire {

namespace {

DnsType type(std::uint16_t value) {
  return static_cast<DnsType>(value);
}

constexpr std::size_t kSoaNumbersBytes = 20;
constexpr std::size_t kNaptrPrefixBytes = 4;
constexpr DnsType kNaptr{35};

/// RFC 1035 section 3.3, RFC 1183, RFC 2163, RFC 2230, RFC 2535, RFC 2782, RFC 6672.
const std::array<DnsRdataLayout, 18> kLayouts{{
    {DnsType::ns, 0, 1, true},
    {type(3), 0, 1, true},  // MD
    {type(4), 0, 1, true},  // MF
    {DnsType::cname, 0, 1, true},
    {DnsType::soa, 0, 2, true},
    {type(7), 0, 1, true},  // MB
    {type(8), 0, 1, true},  // MG
    {type(9), 0, 1, true},  // MR
    {DnsType::ptr, 0, 1, true},
    {type(14), 0, 2, true},  // MINFO
    {DnsType::mx, 2, 1, true},
    {type(17), 0, 2, false},  // RP
    {type(18), 2, 1, false},  // AFSDB
    {type(21), 2, 1, false},  // RT
    {type(26), 2, 2, false},  // PX
    {DnsType::srv, 6, 1, false},
    {type(36), 2, 1, false},  // KX
    {type(39), 0, 1, false},  // DNAME
}};

/// Bytes before the name of a NAPTR record: two numbers and three strings (RFC 3403 section 4.1).
std::optional<std::size_t> naptr_prefix(ConstBytes rdata) {
  std::size_t at = kNaptrPrefixBytes;
  for (int strings = 0; strings < 3; ++strings) {
    if (at >= rdata.size()) return std::nullopt;
    at += 1u + rdata[at];
  }
  return at;
}

std::size_t tail_bytes(DnsType type) {
  return type == DnsType::soa ? kSoaNumbersBytes : 0;
}

}  // namespace

const DnsRdataLayout* rdata_layout(DnsType type) {
  auto found = std::find_if(kLayouts.begin(), kLayouts.end(),
                            [&](const DnsRdataLayout& layout) { return layout.type == type; });
  return found == kLayouts.end() ? nullptr : &*found;
}

std::optional<std::vector<std::uint8_t>> expand_rdata(const DnsMessage& message,
                                                      const DnsRecordView& record) {
  ConstBytes rdata = record.rdata;
  if (record.type == DnsType::a || record.type == DnsType::aaaa) {
    if (!rdata_address(record.type, rdata)) return std::nullopt;
  }
  std::size_t prefix = 0;
  int names = 0;
  if (const auto* layout = rdata_layout(record.type)) {
    prefix = layout->prefix;
    names = layout->names;
  } else if (record.type == kNaptr) {
    auto before_name = naptr_prefix(rdata);
    if (!before_name) return std::nullopt;
    prefix = *before_name;
    names = 1;
  } else {
    return std::vector<std::uint8_t>(rdata.begin(), rdata.end());
  }
  if (rdata.size() < prefix) return std::nullopt;

  std::vector<std::uint8_t> expanded(rdata.begin(), rdata.begin() + static_cast<long>(prefix));
  std::size_t at = record.rdata_offset + prefix;
  std::size_t end = record.rdata_offset + rdata.size();
  for (; names > 0; --names) {
    // Cut at the record's end: its names may point back, but not run on.
    auto name = DnsName::read(message.bytes().first(end), at);
    if (!name) return std::nullopt;
    expanded.insert(expanded.end(), name->name.wire().begin(), name->name.wire().end());
    at = name->end;
  }
  if (end - at != tail_bytes(record.type)) return std::nullopt;
  auto tail = message.bytes().subspan(at, end - at);
  expanded.insert(expanded.end(), tail.begin(), tail.end());
  return expanded;
}

std::optional<IpAddress> rdata_address(DnsType type, ConstBytes rdata) {
  bool fits =
      (type == DnsType::a && rdata.size() == 4) || (type == DnsType::aaaa && rdata.size() == 16);
  if (!fits) return std::nullopt;
  return IpAddress::from_bytes(rdata);
}

}  // namespace sluice::wire
