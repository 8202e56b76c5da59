#include "dns/record_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>

#include <net/address.h>

#include "base/number.h"

namespace sluice::dns {

using wire::DnsName;
using wire::DnsType;

namespace {

using Rdata = std::vector<std::uint8_t>;

constexpr std::string_view kBlanks = " \t";
/// Of one string of a TXT record, which has one byte for its length.
constexpr std::size_t kMaxStringBytes = 255;
/// A record that fills an answer is nothing that anybody asks for.
constexpr std::size_t kMaxTextBytes = 4096;

struct TypeName {
  std::string_view name;
  DnsType type;
};
constexpr std::array<TypeName, 9> kTypes{{{"A", DnsType::a},
                                          {"AAAA", DnsType::aaaa},
                                          {"CNAME", DnsType::cname},
                                          {"MX", DnsType::mx},
                                          {"NS", DnsType::ns},
                                          {"SRV", DnsType::srv},
                                          {"TXT", DnsType::txt},
                                          {"CAA", DnsType::caa},
                                          {"PTR", DnsType::ptr}}};

std::string_view take_word(std::string_view& text) {
  text.remove_prefix(std::min(text.find_first_not_of(kBlanks), text.size()));
  auto word = text.substr(0, text.find_first_of(kBlanks));
  text.remove_prefix(word.size());
  return word;
}

std::string_view trimmed(std::string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of(kBlanks), text.size()));
  return text.substr(0, text.find_last_not_of(kBlanks) + 1);
}

void append_u16(Rdata& rdata, std::uint16_t value) {
  rdata.push_back(static_cast<std::uint8_t>(value >> 8));
  rdata.push_back(static_cast<std::uint8_t>(value));
}

Status append_name(Rdata& rdata, std::string_view text) {
  if (text.empty()) return Status::invalid_argument("a name is missing");
  auto name = DomainName::parse(text);
  if (!name) return name.status();
  DnsName wire_name(*name);
  rdata.insert(rdata.end(), wire_name.wire().begin(), wire_name.wire().end());
  return Status::ok();
}

/// `count` numbers of 16 bits, then a name: MX and SRV.
Result<Rdata> numbers_and_name(std::string_view value, int count, std::string_view form) {
  Rdata rdata;
  for (int i = 0; i < count; ++i) {
    auto number = parse_number<std::uint16_t>(take_word(value));
    if (!number)
      return Status::invalid_argument(
          fmt::format("the value's form is {}, numbers from 0 to 65535", form));
    append_u16(rdata, *number);
  }
  if (Status status = append_name(rdata, trimmed(value)); !status) return status;
  return rdata;
}

Result<Rdata> address_of(std::string_view value, Family family) {
  auto address = IpAddress::parse(value);
  if (!address || address->family() != family) {
    return Status::invalid_argument(
        fmt::format("'{}' is not an {} address", value, family == Family::v4 ? "IPv4" : "IPv6"));
  }
  return Rdata(address->bytes().begin(), address->bytes().end());
}

/// Takes one quoted string off `text`, whose first byte is the quote.
Result<std::string> take_quoted(std::string_view& text) {
  constexpr std::size_t kEscapeDigits = 3;
  std::string out;
  for (std::size_t i = 1; i < text.size(); ++i) {
    if (text[i] == '"') {
      text.remove_prefix(i + 1);
      return out;
    }
    if (text[i] != '\\') {
      out.push_back(text[i]);
      continue;
    }
    std::string_view escaped = text.substr(i + 1);
    if (!escaped.empty() && (escaped[0] == '"' || escaped[0] == '\\')) {
      out.push_back(escaped[0]);
      ++i;
      continue;
    }
    auto code = escaped.size() < kEscapeDigits
                    ? std::nullopt
                    : parse_number<std::uint8_t>(escaped.substr(0, kEscapeDigits));
    if (!code)
      return Status::invalid_argument(
          "a backslash in quotes is followed by '\"', '\\' or three digits");
    out.push_back(static_cast<char>(*code));
    i += kEscapeDigits;
  }
  return Status::invalid_argument("the closing quote is missing");
}

void append_strings(Rdata& rdata, std::string_view text) {
  do {
    auto part = text.substr(0, kMaxStringBytes);
    rdata.push_back(static_cast<std::uint8_t>(part.size()));
    rdata.insert(rdata.end(), part.begin(), part.end());
    text.remove_prefix(part.size());
  } while (!text.empty());
}

Result<Rdata> text_strings(std::string_view value) {
  if (value.size() > kMaxTextBytes)
    return Status::invalid_argument(fmt::format("longer than {} bytes", kMaxTextBytes));
  Rdata rdata;
  if (!value.starts_with('"')) {
    append_strings(rdata, value);
    return rdata;
  }
  while (!value.empty()) {
    if (value[0] != '"')
      return Status::invalid_argument("after a string in quotes only another one can follow");
    auto part = take_quoted(value);
    if (!part) return part.status();
    append_strings(rdata, *part);
    value = trimmed(value);
  }
  return rdata;
}

/// RFC 8659 section 4.1.
Result<Rdata> authorization(std::string_view value) {
  auto flags = parse_number<std::uint8_t>(take_word(value));
  auto tag = take_word(value);
  value = trimmed(value);
  bool tag_fits =
      !tag.empty() && tag.size() <= kMaxStringBytes &&
      std::all_of(tag.begin(), tag.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
      });
  if (!flags || !tag_fits || value.empty()) {
    return Status::invalid_argument(
        "the value's form is FLAGS TAG \"TEXT\", such as 0 issue \"ca.example\"");
  }
  std::string text(value);
  if (value[0] == '"') {
    auto quoted = take_quoted(value);
    if (!quoted) return quoted.status();
    if (!trimmed(value).empty())
      return Status::invalid_argument("nothing can follow the string in quotes");
    text = std::move(*quoted);
  }
  Rdata rdata{*flags, static_cast<std::uint8_t>(tag.size())};
  rdata.insert(rdata.end(), tag.begin(), tag.end());
  rdata.insert(rdata.end(), text.begin(), text.end());
  return rdata;
}

Result<Rdata> parse_value(DnsType type, std::string_view value) {
  switch (type) {
    case DnsType::a:
      return address_of(value, Family::v4);
    case DnsType::aaaa:
      return address_of(value, Family::v6);
    case DnsType::mx:
      return numbers_and_name(value, 1, "PREFERENCE NAME");
    case DnsType::srv:
      return numbers_and_name(value, 3, "PRIORITY WEIGHT PORT NAME");
    case DnsType::txt:
      return text_strings(value);
    case DnsType::caa:
      return authorization(value);
    default:
      return numbers_and_name(value, 0, "NAME");
  }
}

/// The name under in-addr.arpa or ip6.arpa that stands for an address (RFC 1035 section 3.5, RFC
/// 3596 section 2.5).
std::string reverse_name(const IpAddress& address) {
  std::string name;
  auto bytes = address.bytes();
  for (auto byte = bytes.rbegin(); byte != bytes.rend(); ++byte) {
    name += address.is_v4() ? fmt::format("{}.", *byte)
                            : fmt::format("{:x}.{:x}.", *byte & 0xf, *byte >> 4);
  }
  return name + (address.is_v4() ? "in-addr.arpa" : "ip6.arpa");
}

Result<DnsName> parse_owner(std::string_view word, DnsType type) {
  if (type == DnsType::ptr) {
    if (auto address = IpAddress::parse(word)) {
      return DnsName(*DomainName::parse(reverse_name(*address)));
    }
  }
  if (word.starts_with("*."))
    return Status::invalid_argument("wildcards are not served; name each name");
  auto name = DomainName::parse(word);
  if (!name) return name.status();
  if (name->is_root()) return Status::invalid_argument("the root can't have records");
  return DnsName(*name);
}

Result<Record> parse(std::string_view text) {
  auto name = take_word(text);
  auto word = take_word(text);
  std::uint32_t ttl = kRecordTtlSeconds;
  if (!word.empty() && word[0] >= '0' && word[0] <= '9') {
    auto number = parse_number<std::uint32_t>(word);
    if (!number || *number > kMaxRecordTtlSeconds) {
      return Status::invalid_argument(fmt::format("'{}' is not a TTL; 0 to {} seconds are possible",
                                                  word, kMaxRecordTtlSeconds));
    }
    ttl = *number;
    word = take_word(text);
  }
  auto value = trimmed(text);
  if (word.empty()) return Status::invalid_argument("the form is NAME [TTL] TYPE VALUE");
  auto type = parse_type(word);
  if (!type) {
    return Status::invalid_argument(fmt::format(
        "'{}' is not a type that can be served; A, AAAA, CNAME, MX, NS, SRV, TXT, CAA and PTR are",
        word));
  }
  if (value.empty())
    return Status::invalid_argument("the value is missing; the form is NAME [TTL] TYPE VALUE");
  auto owner = parse_owner(name, *type);
  if (!owner) return owner.status();
  auto rdata = parse_value(*type, value);
  if (!rdata) return rdata.status();
  return Record{std::move(*owner), *type, ttl, std::move(*rdata)};
}

}  // namespace

std::optional<DnsType> parse_type(std::string_view word) {
  std::string upper(word);
  std::transform(upper.begin(), upper.end(), upper.begin(), [](char c) {
    return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  });
  auto found = std::find_if(kTypes.begin(), kTypes.end(),
                            [&](const TypeName& type) { return type.name == upper; });
  if (found == kTypes.end()) return std::nullopt;
  return found->type;
}

std::string_view type_name(DnsType type) {
  auto found = std::find_if(kTypes.begin(), kTypes.end(),
                            [&](const TypeName& one) { return one.type == type; });
  return found == kTypes.end() ? std::string_view() : found->name;
}

Result<Record> parse_record(std::string_view text) {
  constexpr std::size_t kShownBytes = 120;
  auto record = parse(text);
  if (record) return record;
  return Status(
      record.status().code(),
      fmt::format("DNS record '{}': {}", text.substr(0, kShownBytes), record.status().message()));
}

}  // namespace sluice::dns
