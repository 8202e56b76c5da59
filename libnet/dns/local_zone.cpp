#include "dns/local_zone.h"

#include <algorithm>
#include <array>

#include "base/number.h"

namespace sluice::dns {

using wire::DnsName;
using wire::DnsRcode;
using wire::DnsType;

namespace {

constexpr std::string_view kReverseV4 = ".in-addr.arpa";
constexpr std::string_view kReverseV6 = ".ip6.arpa";

std::uint32_t ttl_seconds() {
  return static_cast<std::uint32_t>(LocalZone::kTtl.count());
}

/// Takes the last label off `text`; "" where there is none left.
std::string_view take_last_label(std::string_view& text) {
  auto dot = text.rfind('.');
  auto label = dot == std::string_view::npos ? text : text.substr(dot + 1);
  text = dot == std::string_view::npos ? std::string_view() : text.substr(0, dot);
  return label;
}

std::optional<std::uint8_t> parse_label(std::string_view digits, int base) {
  // "01" is not how anybody writes a label of these trees.
  if (digits.size() > 1 && digits[0] == '0') return std::nullopt;
  return parse_number<std::uint8_t>(digits, base);
}

}  // namespace

LocalZone::LocalZone(DomainName apex) : apex_(std::move(apex)) {}

void LocalZone::set_addresses(const DomainName& name, std::vector<IpAddress> addresses) {
  remove(name);
  if (addresses.empty()) return;
  if (name.is_in(apex_)) {
    for (const auto& address : addresses) names_of_[address].push_back(name);
    for (DomainName up = name; up != apex_; up = up.parent()) ++children_[up.parent()];
  }
  hosts_.emplace(name, std::move(addresses));
}

void LocalZone::remove(const DomainName& name) {
  auto host = hosts_.find(name);
  if (host == hosts_.end()) return;
  if (name.is_in(apex_)) {
    for (const auto& address : host->second) {
      auto& names = names_of_[address];
      names.erase(std::remove(names.begin(), names.end(), name), names.end());
      if (names.empty()) names_of_.erase(address);
    }
    for (DomainName up = name; up != apex_; up = up.parent()) {
      if (--children_[up.parent()] == 0) children_.erase(up.parent());
    }
  }
  hosts_.erase(host);
}

void LocalZone::own_reverse(const IpPrefix& block) {
  reverse_blocks_.push_back(block);
}

std::optional<Answer> LocalZone::find(const DomainName& name, DnsType type) const {
  if (auto reverse = find_reverse(name, type)) return reverse;
  auto zone = zone_of(name);
  if (!zone) return std::nullopt;
  if (auto host = hosts_.find(name); host != hosts_.end()) {
    auto answer = addresses_of(name, host->second, type);
    if (!answer.records.empty()) return answer;
  } else if (name != *zone && !children_.contains(name)) {
    return negative(DnsRcode::name_error, *zone);
  }
  auto answer = negative(DnsRcode::no_error, *zone);
  if (type == DnsType::soa && name == *zone) {
    answer.records.push_back(std::move(*answer.soa));
    answer.soa.reset();
  }
  return answer;
}

std::optional<DomainName> LocalZone::zone_of(const DomainName& name) const {
  if (name.is_in(apex_)) return apex_;
  for (std::string_view up = name.text(); !up.empty();) {
    if (auto host = hosts_.find(up); host != hosts_.end()) return host->first;
    auto dot = up.find('.');
    up = dot == std::string_view::npos ? std::string_view() : up.substr(dot + 1);
  }
  return std::nullopt;
}

std::optional<Answer> LocalZone::find_reverse(const DomainName& name, DnsType type) const {
  auto address = reverse_address(name);
  if (!address) return std::nullopt;
  auto names = names_of_.find(*address);
  if (names == names_of_.end()) {
    bool ours = std::any_of(reverse_blocks_.begin(), reverse_blocks_.end(),
                            [&](const IpPrefix& block) { return block.contains(*address); });
    if (!ours) return std::nullopt;
    return negative(DnsRcode::name_error, name);
  }
  if (type != DnsType::ptr) return negative(DnsRcode::no_error, name);
  Answer answer;
  answer.authoritative = true;
  DnsName target(names->second.front());
  answer.records.push_back(
      {DnsName(name), DnsType::ptr, ttl_seconds(), {target.wire().begin(), target.wire().end()}});
  return answer;
}

Answer LocalZone::addresses_of(const DomainName& name, const Addresses& addresses,
                               DnsType type) const {
  Answer answer;
  answer.authoritative = true;
  answer.names.push_back(name);
  for (const auto& address : addresses) {
    if (type != (address.is_v4() ? DnsType::a : DnsType::aaaa)) continue;
    auto bytes = address.bytes();
    answer.records.push_back({DnsName(name), type, ttl_seconds(), {bytes.begin(), bytes.end()}});
  }
  return answer;
}

Answer LocalZone::negative(DnsRcode rcode, const DomainName& zone) const {
  Answer answer = make_negative(rcode, soa(zone));
  answer.authoritative = true;
  return answer;
}

Record LocalZone::soa(const DomainName& zone) const {
  return make_soa(DnsName(zone), DnsName(apex_), ttl_seconds());
}

std::optional<IpAddress> reverse_address(const DomainName& name) {
  std::string_view rest = name.text();
  if (rest.ends_with(kReverseV4)) {
    rest.remove_suffix(kReverseV4.size());
    std::array<std::uint8_t, 4> bytes{};
    for (auto& byte : bytes) {
      auto number = parse_label(take_last_label(rest), 10);
      if (!number) return std::nullopt;
      byte = *number;
    }
    if (!rest.empty()) return std::nullopt;
    return IpAddress::from_bytes(bytes);
  }
  if (!rest.ends_with(kReverseV6)) return std::nullopt;
  rest.remove_suffix(kReverseV6.size());
  std::array<std::uint8_t, 16> bytes{};
  for (std::size_t nibble = 0; nibble < 32; ++nibble) {
    auto label = take_last_label(rest);
    auto number = parse_label(label, 16);
    if (!number || label.size() != 1) return std::nullopt;
    auto shifted = nibble % 2 == 0 ? *number << 4 : *number;
    bytes[nibble / 2] = static_cast<std::uint8_t>(bytes[nibble / 2] | shifted);
  }
  if (!rest.empty()) return std::nullopt;
  return IpAddress::from_bytes(bytes);
}

}  // namespace sluice::dns
