#include <net/address.h>

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "base/number.h"

namespace sluice {

namespace {

Status bad(std::string_view what, std::string_view text) {
  return Status(StatusCode::invalid_argument, fmt::format("'{}' is not {}", text, what));
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

void mask(std::span<std::uint8_t> bytes, int length) {
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    int keep = std::clamp(length - static_cast<int>(i) * 8, 0, 8);
    bytes[i] &= static_cast<std::uint8_t>(0xff00 >> keep);
  }
}

std::uint64_t mix(std::uint64_t h) {
  h ^= h >> 33;
  h *= 0xff51afd7ed558ccdULL;
  h ^= h >> 33;
  h *= 0xc4ceb9fe1a85ec53ULL;
  return h ^ (h >> 33);
}

}  // namespace

Result<MacAddress> MacAddress::parse(std::string_view text) {
  std::array<std::uint8_t, kSize> bytes{};
  if (text.size() != 17) return bad("a MAC address such as 02:5a:00:00:00:01", text);
  for (std::size_t i = 0; i < kSize; ++i) {
    int high = hex_digit(text[i * 3]), low = hex_digit(text[i * 3 + 1]);
    bool separated = i + 1 == kSize || text[i * 3 + 2] == ':' || text[i * 3 + 2] == '-';
    if (high < 0 || low < 0 || !separated) {
      return bad("a MAC address such as 02:5a:00:00:00:01", text);
    }
    bytes[i] = static_cast<std::uint8_t>(high << 4 | low);
  }
  return MacAddress(bytes);
}

std::string MacAddress::to_string() const {
  return fmt::format("{:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}", bytes_[0], bytes_[1], bytes_[2],
                     bytes_[3], bytes_[4], bytes_[5]);
}

IpAddress IpAddress::from_bytes(std::span<const std::uint8_t> bytes) {
  IpAddress address;
  if (bytes.size() == 4) {
    std::copy(bytes.begin(), bytes.end(), address.bytes_.begin());
  } else if (bytes.size() == 16) {
    address.family_ = Family::v6;
    std::copy(bytes.begin(), bytes.end(), address.bytes_.begin());
  }
  return address;
}

Result<IpAddress> IpAddress::parse(std::string_view text) {
  char buffer[INET6_ADDRSTRLEN];
  IpAddress address;
  // inet_pton takes no octal, hex or short forms, so one spelling has one meaning.
  if (text.size() < sizeof buffer) {
    buffer[text.copy(buffer, sizeof buffer)] = 0;
    if (std::strlen(buffer) == text.size()) {
      if (inet_pton(AF_INET, buffer, address.bytes_.data()) == 1) return address;
      address.family_ = Family::v6;
      if (inet_pton(AF_INET6, buffer, address.bytes_.data()) == 1) return address;
    }
  }
  return bad("an IP address such as 192.0.2.1 or 2001:db8::1", text);
}

bool IpAddress::is_unspecified() const {
  return *this == any(family_);
}

bool IpAddress::is_loopback() const {
  return is_v4() ? bytes_[0] == 127 : *this == loopback(Family::v6);
}

bool IpAddress::is_multicast() const {
  return is_v4() ? (bytes_[0] & 0xf0) == 0xe0 : bytes_[0] == 0xff;
}

bool IpAddress::is_link_local() const {
  return is_v4() ? bytes_[0] == 169 && bytes_[1] == 254
                 : bytes_[0] == 0xfe && (bytes_[1] & 0xc0) == 0x80;
}

bool IpAddress::is_limited_broadcast() const {
  return is_v4() && v4_value() == 0xffffffff;
}

std::string IpAddress::to_string() const {
  char buffer[INET6_ADDRSTRLEN] = "";
  inet_ntop(is_v4() ? AF_INET : AF_INET6, bytes_.data(), buffer, sizeof buffer);
  return buffer;
}

IpPrefix::IpPrefix(const IpAddress& address, int length)
    : length_(std::clamp(length, 0, address.bits())) {
  std::array<std::uint8_t, 16> bytes{};
  auto from = address.bytes();
  std::copy(from.begin(), from.end(), bytes.begin());
  auto masked = std::span(bytes).first(from.size());
  mask(masked, length_);
  address_ = IpAddress::from_bytes(masked);
}

Result<IpPrefix> IpPrefix::parse(std::string_view text) {
  auto slash = text.find('/');
  auto address = IpAddress::parse(text.substr(0, slash));
  if (!address) return bad("an address block such as 10.0.0.0/8 or fd00::/64", text);
  if (slash == std::string_view::npos) return IpPrefix(*address, address->bits());
  auto length = parse_number<std::uint8_t>(text.substr(slash + 1));
  if (!length || *length > address->bits()) {
    return bad("an address block such as 10.0.0.0/8 or fd00::/64", text);
  }
  return IpPrefix(*address, *length);
}

bool IpPrefix::contains(const IpAddress& address) const {
  if (address.family() != family()) return false;
  auto a = address.bytes(), b = address_.bytes();
  int whole = length_ / 8, rest = length_ % 8;
  if (std::memcmp(a.data(), b.data(), static_cast<std::size_t>(whole)) != 0) return false;
  if (rest == 0) return true;
  auto at = static_cast<std::size_t>(whole);
  return ((a[at] ^ b[at]) & static_cast<std::uint8_t>(0xff00 >> rest)) == 0;
}

bool IpPrefix::overlaps(const IpPrefix& other) const {
  return contains(other.address_) || other.contains(address_);
}

IpAddress IpPrefix::at(std::uint32_t index) const {
  std::array<std::uint8_t, 16> bytes{};
  auto from = address_.bytes();
  std::copy(from.begin(), from.end(), bytes.begin());
  int host_bits = std::min(address_.bits() - length_, 32);
  std::uint64_t limit = std::uint64_t{1} << host_bits;
  std::uint8_t* tail = bytes.data() + from.size() - 4;
  auto value = static_cast<std::uint32_t>(index % limit);
  for (int i = 0; i < 4; ++i) tail[i] |= static_cast<std::uint8_t>(value >> (24 - 8 * i));
  return IpAddress::from_bytes(std::span(bytes).first(from.size()));
}

IpAddress IpPrefix::last() const {
  std::array<std::uint8_t, 16> bytes{};
  auto from = address_.bytes();
  for (std::size_t i = 0; i < from.size(); ++i) {
    int keep = std::clamp(length_ - static_cast<int>(i) * 8, 0, 8);
    bytes[i] = static_cast<std::uint8_t>(from[i] | (0xff >> keep));
  }
  return IpAddress::from_bytes(std::span(bytes).first(from.size()));
}

std::string IpPrefix::to_string() const {
  return fmt::format("{}/{}", address_.to_string(), length_);
}

Result<Port> Port::parse(std::string_view text) {
  auto value = parse_number<std::uint16_t>(text);
  if (!value) return bad("a port from 0 to 65535", text);
  return Port(*value);
}

Result<Endpoint> Endpoint::parse(std::string_view text) {
  auto colon = text.rfind(':');
  if (colon == std::string_view::npos) return bad("ADDRESS:PORT", text);
  std::string_view host = text.substr(0, colon);
  bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  auto address = IpAddress::parse(host);
  auto port = Port::parse(text.substr(colon + 1));
  if (!address || !port || address->is_v6() != bracketed) {
    return bad("ADDRESS:PORT such as 192.0.2.1:53 or [2001:db8::1]:53", text);
  }
  return Endpoint{*address, *port};
}

std::string Endpoint::to_string() const {
  return address.is_v4() ? fmt::format("{}:{}", address.to_string(), port.value())
                         : fmt::format("[{}]:{}", address.to_string(), port.value());
}

std::string_view to_string(Protocol protocol) {
  switch (protocol) {
    case Protocol::icmp:
      return "icmp";
    case Protocol::tcp:
      return "tcp";
    case Protocol::udp:
      return "udp";
  }
  return "unknown";
}

}  // namespace sluice

std::size_t std::hash<sluice::IpAddress>::operator()(
    const sluice::IpAddress& address) const noexcept {
  std::uint64_t words[2] = {};
  auto bytes = address.bytes();
  std::memcpy(words, bytes.data(), bytes.size());
  return sluice::mix(words[0] ^
                     sluice::mix(words[1] + static_cast<std::uint64_t>(address.family())));
}

std::size_t std::hash<sluice::Endpoint>::operator()(
    const sluice::Endpoint& endpoint) const noexcept {
  return sluice::mix(std::hash<sluice::IpAddress>()(endpoint.address) + endpoint.port.value());
}

std::size_t std::hash<sluice::MacAddress>::operator()(
    const sluice::MacAddress& address) const noexcept {
  std::uint64_t word = 0;
  std::memcpy(&word, address.bytes().data(), address.bytes().size());
  return sluice::mix(word);
}
