#include "wire/dns_name.h"

#include <fmt/format.h>

#include <algorithm>

namespace sluice::wire {

namespace {

constexpr std::size_t kMaxLabelBytes = 63;
constexpr std::uint8_t kPointerBits = 0xc0;
/// A name has at most 127 labels, so an honest compressor needs no more pointers.
constexpr int kMaxPointers = 127;
/// A pointer can't lead into the header.
constexpr std::size_t kFirstNameOffset = 12;

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}
char upper(char c) {
  return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
}

bool same_ignoring_case(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](char x, char y) { return lower(x) == lower(y); });
}

/// Calls `use(label)` for each label of a valid wire name, root excluded.
template <typename Use>
void for_each_label(std::string_view wire, Use use) {
  for (std::size_t at = 0; wire[at] != 0; at += 1 + static_cast<std::uint8_t>(wire[at])) {
    use(wire.substr(at + 1, static_cast<std::uint8_t>(wire[at])));
  }
}

}  // namespace

DnsName::DnsName(const DomainName& name) {
  std::string_view rest = name.text();
  wire_.reserve(rest.size() + 2);
  while (!rest.empty()) {
    auto label = rest.substr(0, rest.find('.'));
    wire_.push_back(static_cast<char>(label.size()));
    wire_.append(label);
    rest.remove_prefix(std::min(rest.size(), label.size() + 1));
  }
  wire_.push_back('\0');
}

std::optional<DnsName::Read> DnsName::read(ConstBytes message, std::size_t offset) {
  std::string wire;
  std::optional<std::size_t> end;
  std::size_t run_start = offset;
  std::size_t at = offset;
  for (int pointers = 0; at < message.size();) {
    std::uint8_t length = message[at];
    if (length == 0) {
      wire.push_back('\0');
      return Read{DnsName(std::move(wire)), end.value_or(at + 1)};
    }
    if ((length & kPointerBits) == kPointerBits) {
      if (at + 1 >= message.size() || ++pointers > kMaxPointers) return std::nullopt;
      std::size_t target = load_be16(&message[at]) & 0x3fffu;
      if (target < kFirstNameOffset || target >= run_start) return std::nullopt;
      if (!end) end = at + 2;
      at = run_start = target;
      continue;
    }
    if (length > kMaxLabelBytes || message.size() - at - 1 < length) return std::nullopt;
    // One byte is kept for the root's zero.
    if (wire.size() + 1 + length + 1 > kMaxBytes) return std::nullopt;
    wire.append(reinterpret_cast<const char*>(&message[at]), 1u + length);
    at += 1u + length;
  }
  return std::nullopt;
}

bool DnsName::same_as(const DnsName& other) const {
  // Length bytes are below 'A', so folding the case of the whole can't touch them.
  return same_ignoring_case(wire_, other.wire_);
}

bool DnsName::is_in(const DnsName& zone) const {
  if (zone.wire_.size() > wire_.size()) return false;
  std::size_t tail = wire_.size() - zone.wire_.size();
  for (std::size_t at = 0; at <= tail; at += 1 + static_cast<std::uint8_t>(wire_[at])) {
    if (at == tail) return same_ignoring_case(std::string_view(wire_).substr(at), zone.wire_);
  }
  return false;
}

DnsName DnsName::lowered() const {
  DnsName name = *this;
  std::transform(name.wire_.begin(), name.wire_.end(), name.wire_.begin(), lower);
  return name;
}

DnsName DnsName::with_case(std::uint64_t bits) const {
  DnsName name = *this;
  int letter = 0;
  for (char& c : name.wire_) {
    if (lower(c) == upper(c)) continue;
    c = bits >> (letter++ % 64) & 1 ? upper(c) : lower(c);
  }
  return name;
}

std::optional<DomainName> DnsName::domain() const {
  std::string text;
  text.reserve(wire_.size());
  bool dotted = false;
  for_each_label(wire_, [&](std::string_view label) {
    if (!text.empty()) text.push_back('.');
    dotted = dotted || label.find('.') != std::string_view::npos;
    text.append(label);
  });
  if (dotted) return std::nullopt;
  auto parsed = DomainName::parse(text);
  if (!parsed) return std::nullopt;
  return std::move(parsed).value();
}

std::string DnsName::to_string() const {
  if (is_root()) return ".";
  std::string text;
  for_each_label(wire_, [&](std::string_view label) {
    if (!text.empty()) text.push_back('.');
    for (char c : label) {
      if (c == '.' || c == '\\') {
        text.push_back('\\');
        text.push_back(c);
      } else if (c > ' ' && c <= '~') {
        text.push_back(c);
      } else {
        text += fmt::format("\\{:03}", static_cast<std::uint8_t>(c));
      }
    }
  });
  return text;
}

}  // namespace sluice::wire
