#include "dns/limiter.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "wire/dns_rdata.h"

namespace sluice::dns {

using wire::DnsType;

namespace {

/// Before the registered zone. The longest in use carry two ids and a region.
constexpr std::size_t kMaxBelowBytes = 120;
constexpr std::size_t kLongLabelBytes = 32;
/// 16 different digits can't have more; base32 and base64 of 32 bytes and more nearly always do.
constexpr double kHexBitsPerByte = 4.0;
constexpr std::size_t kCountryBytes = 2;
constexpr std::size_t kSecondLevelBytes = 3;

double bits_per_byte(std::string_view text) {
  std::array<int, 256> counts{};
  for (char c : text) ++counts[static_cast<unsigned char>(c)];
  double bits = 0;
  auto size = static_cast<double>(text.size());
  for (int count : counts) {
    if (count > 0) bits -= count / size * std::log2(count / size);
  }
  return bits;
}

/// The aliases before an address that any honest answer gets by with.
constexpr std::size_t kFreeAliasBytes = 512;

bool is_address(DnsType type) {
  return type == DnsType::a || type == DnsType::aaaa;
}

/// What could carry a message to the guest; an address carries next to nothing.
std::size_t data_bytes(const Answer& answer, DnsType asked) {
  std::size_t bytes = 0;
  for (const auto& record : answer.records) {
    if (!is_address(record.type)) bytes += record.rdata.size();
  }
  std::size_t free = is_address(asked) ? kFreeAliasBytes : 0;
  return bytes - std::min(bytes, free);
}

}  // namespace

DomainName registered_zone(const DomainName& name) {
  int labels = name.labels();
  DomainName zone = name;
  DomainName last3 = name;
  for (; labels > 2; --labels) {
    last3 = zone;
    zone = zone.parent();
  }
  auto dot = zone.text().find('.');
  if (last3 == zone || dot == std::string::npos) return zone;
  bool is_country = zone.text().size() - dot - 1 == kCountryBytes;
  return is_country && dot <= kSecondLevelBytes ? last3 : zone;
}

bool looks_encoded(const DomainName& name, const DomainName& zone) {
  std::string_view below = name.text();
  below.remove_suffix(std::min(below.size(), zone.text().size() + 1));
  if (below.size() > kMaxBelowBytes) return true;
  while (!below.empty()) {
    auto label = below.substr(0, below.find('.'));
    below.remove_prefix(std::min(below.size(), label.size() + 1));
    if (label.size() >= kLongLabelBytes && bits_per_byte(label) > kHexBitsPerByte) return true;
  }
  return false;
}

bool Limiter::Window::renew(TimePoint now) {
  if (now - start < kWindow) return false;
  *this = {now, 0, false};
  return true;
}

Limiter::Excess Limiter::Window::exceed(Limit limit) {
  return {limit, !std::exchange(told, true)};
}

std::optional<Limiter::Excess> Limiter::count_query(const Lookup& lookup, bool below_rule,
                                                    TimePoint now) {
  Guest& guest = guest_of(lookup.client.guest, now);
  guest.queries.renew(now);
  if (!take_token(guest, now)) return guest.queries.exceed(Limit::query_rate);

  guest.data.renew(now);
  if (limits_.data_bytes > 0 && guest.data.used > limits_.data_bytes && !is_address(lookup.type)) {
    return guest.data.exceed(Limit::data);
  }
  DomainName registered = registered_zone(lookup.name);
  Zone& zone = zone_of(guest, registered, now);
  zone.encoded.renew(now);
  if (below_rule && limits_.encoded_names == EncodedNames::deny &&
      looks_encoded(lookup.name, registered)) {
    return zone.encoded.exceed(Limit::encoded_name);
  }
  if (limits_.names_per_zone == 0) return std::nullopt;
  if (zone.window.renew(now)) {
    guest.names -= zone.names.size();
    zone.names.clear();
  }
  const auto& text = lookup.name.text();
  auto hash = siphash(key_, {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
  if (zone.names.contains(hash)) return std::nullopt;
  if (zone.names.size() >= limits_.names_per_zone) {
    return zone.window.exceed(Limit::names_in_zone);
  }
  zone.names.insert(hash);
  ++guest.names;
  while (guest.names > kMaxNames && guest.zones.size() > 1) {
    forget_zone(guest, std::prev(guest.zones.end()));
  }
  return std::nullopt;
}

std::optional<Limiter::Excess> Limiter::count_answer(const Lookup& lookup, const Answer& answer,
                                                     TimePoint now) {
  std::size_t bytes = data_bytes(answer, lookup.type);
  if (bytes == 0 || limits_.data_bytes == 0) return std::nullopt;
  Guest& guest = guest_of(lookup.client.guest, now);
  guest.data.renew(now);
  guest.data.used += bytes;
  if (guest.data.used <= limits_.data_bytes) return std::nullopt;
  return guest.data.exceed(Limit::data);
}

std::optional<Limiter::Excess> Limiter::check_cached(const Lookup& lookup, const Answer& answer,
                                                     TimePoint now) {
  auto found = guests_.find(lookup.client.guest);
  if (found == guests_.end() || limits_.data_bytes == 0) return std::nullopt;
  auto& data = found->second->data;
  data.renew(now);
  if (data.used <= limits_.data_bytes || data_bytes(answer, lookup.type) == 0) return std::nullopt;
  return data.exceed(Limit::data);
}

std::size_t Limiter::names(std::uint32_t guest) const {
  auto found = guests_.find(guest);
  return found == guests_.end() ? 0 : found->second->names;
}

Limiter::Guest& Limiter::guest_of(std::uint32_t number, TimePoint now) {
  if (auto found = guests_.find(number); found != guests_.end()) {
    by_use_.splice(by_use_.begin(), by_use_, found->second);
    return by_use_.front();
  }
  if (guests_.size() >= kMaxGuests) {
    guests_.erase(by_use_.back().number);
    by_use_.pop_back();
  }
  Guest& guest = by_use_.emplace_front();
  guest.number = number;
  guest.tokens = static_cast<double>(limits_.queries_per_second) * kBurstSeconds;
  guest.filled = guest.queries.start = guest.data.start = now;
  guests_.emplace(number, by_use_.begin());
  return guest;
}

Limiter::Zone& Limiter::zone_of(Guest& guest, const DomainName& name, TimePoint now) {
  if (auto found = guest.by_name.find(name); found != guest.by_name.end()) {
    guest.zones.splice(guest.zones.begin(), guest.zones, found->second);
    return guest.zones.front();
  }
  if (guest.zones.size() >= kMaxZones) forget_zone(guest, std::prev(guest.zones.end()));
  Zone& zone = guest.zones.emplace_front();
  zone.name = name;
  zone.window.start = zone.encoded.start = now;
  guest.by_name.emplace(name, guest.zones.begin());
  return zone;
}

bool Limiter::take_token(Guest& guest, TimePoint now) const {
  if (limits_.queries_per_second == 0) return true;
  double rate = limits_.queries_per_second;
  double passed = std::chrono::duration<double>(now - guest.filled).count();
  guest.filled = now;
  guest.tokens = std::min(guest.tokens + passed * rate, rate * kBurstSeconds);
  if (guest.tokens < 1) return false;
  guest.tokens -= 1;
  return true;
}

void Limiter::forget_zone(Guest& guest, Zones::iterator zone) {
  guest.names -= zone->names.size();
  guest.by_name.erase(zone->name);
  guest.zones.erase(zone);
}

}  // namespace sluice::dns
