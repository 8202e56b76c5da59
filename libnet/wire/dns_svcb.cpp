#include "wire/dns_svcb.h"

#include "wire/dns_name.h"

namespace sluice::wire {

namespace {

// RFC 9460 section 14.3.2.
constexpr std::uint16_t kMandatory = 0, kIpv4Hint = 4, kEch = 5, kIpv6Hint = 6;
constexpr std::size_t kPriorityBytes = 2;
constexpr std::size_t kParameterHeadBytes = 4;  // key and length

bool is_removed(std::uint16_t key) {
  return key == kIpv4Hint || key == kEch || key == kIpv6Hint;
}

void append(std::vector<std::uint8_t>& out, std::uint16_t key, ConstBytes value) {
  std::size_t at = out.size();
  out.resize(at + kParameterHeadBytes);
  store_be16(&out[at], key);
  store_be16(&out[at + 2], static_cast<std::uint16_t>(value.size()));
  out.insert(out.end(), value.begin(), value.end());
}

/// The list of mandatory keys without those that go: a record that lacks a mandatory one is void.
std::optional<std::vector<std::uint8_t>> mandatory_without_removed(ConstBytes keys) {
  if (keys.empty() || keys.size() % 2 != 0) return std::nullopt;
  std::vector<std::uint8_t> out;
  for (std::size_t at = 0; at < keys.size(); at += 2) {
    if (is_removed(load_be16(&keys[at]))) continue;
    out.insert(out.end(), {keys[at], keys[at + 1]});
  }
  return out;
}

}  // namespace

std::optional<std::vector<std::uint8_t>> without_hints_and_ech(ConstBytes rdata) {
  auto target = DnsName::read(rdata, kPriorityBytes);
  if (!target || target->end != kPriorityBytes + target->name.wire().size()) return std::nullopt;
  std::vector<std::uint8_t> out(rdata.begin(),
                                rdata.begin() + static_cast<std::ptrdiff_t>(target->end));
  int previous = -1;
  for (ConstBytes left = rdata.subspan(target->end); !left.empty();) {
    if (left.size() < kParameterHeadBytes) return std::nullopt;
    std::uint16_t key = load_be16(left.data());
    std::size_t size = load_be16(&left[2]);
    if (key <= previous || left.size() - kParameterHeadBytes < size) return std::nullopt;
    previous = key;
    ConstBytes value = left.subspan(kParameterHeadBytes, size);
    left = left.subspan(kParameterHeadBytes + size);
    if (is_removed(key)) continue;
    if (key != kMandatory) {
      append(out, key, value);
      continue;
    }
    auto keys = mandatory_without_removed(value);
    if (!keys) return std::nullopt;
    if (!keys->empty()) append(out, key, *keys);
  }
  return out;
}

}  // namespace sluice::wire
