#include "dns/record_print.h"

#include <fmt/format.h>

#include "dns/record_text.h"
#include "wire/dns_rdata.h"

namespace sluice::dns {

using wire::DnsName;
using wire::DnsType;

namespace {

/// A string between quotes, with the escapes that parse_record() takes.
std::string quoted(ConstBytes bytes) {
  constexpr std::uint8_t kFirstPrintable = 0x20, kLastPrintable = 0x7e;
  std::string out = "\"";
  for (std::uint8_t byte : bytes) {
    char c = static_cast<char>(byte);
    if (c == '"' || c == '\\') {
      out += fmt::format("\\{}", c);
    } else if (byte < kFirstPrintable || byte > kLastPrintable) {
      out += fmt::format("\\{:03}", byte);
    } else {
      out += c;
    }
  }
  return out + '"';
}

/// `count` numbers of 16 bits, then a name.
std::optional<std::string> numbers_and_name(ConstBytes rdata, std::size_t count) {
  if (rdata.size() < 2 * count) return std::nullopt;
  std::string out;
  for (std::size_t i = 0; i < count; ++i) out += fmt::format("{} ", load_be16(&rdata[2 * i]));
  auto name = DnsName::read(rdata.subspan(2 * count), 0);
  auto domain = name ? name->name.domain() : std::nullopt;
  if (!domain) return std::nullopt;
  return out + domain->text();
}

std::optional<std::string> strings(ConstBytes rdata) {
  std::string out;
  while (!rdata.empty()) {
    std::size_t length = rdata[0];
    if (rdata.size() < length + 1) return std::nullopt;
    out += (out.empty() ? "" : " ") + quoted(rdata.subspan(1, length));
    rdata = rdata.subspan(length + 1);
  }
  return out;
}

/// RFC 8659 section 4.1.
std::optional<std::string> authorization(ConstBytes rdata) {
  if (rdata.size() < 2 || rdata.size() < std::size_t{2} + rdata[1]) return std::nullopt;
  auto tag = rdata.subspan(2, rdata[1]);
  return fmt::format("{} {} {}", rdata[0], std::string(tag.begin(), tag.end()),
                     quoted(rdata.subspan(std::size_t{2} + rdata[1])));
}

std::optional<std::string> value_of(const Record& record) {
  ConstBytes rdata = record.rdata;
  switch (record.type) {
    case DnsType::a:
    case DnsType::aaaa:
      if (auto address = wire::rdata_address(record.type, rdata)) return address->to_string();
      return std::nullopt;
    case DnsType::mx:
      return numbers_and_name(rdata, 1);
    case DnsType::srv:
      return numbers_and_name(rdata, 3);
    case DnsType::txt:
      return strings(rdata);
    case DnsType::caa:
      return authorization(rdata);
    default:
      return numbers_and_name(rdata, 0);
  }
}

}  // namespace

std::optional<DnsRecord> describe_record(const Record& record) {
  auto name = record.owner.domain();
  std::string_view type = type_name(record.type);
  if (!name || type.empty()) return std::nullopt;
  auto value = value_of(record);
  if (!value) return std::nullopt;
  return DnsRecord{std::move(*name), std::string(type), record.ttl_seconds, std::move(*value)};
}

}  // namespace sluice::dns
