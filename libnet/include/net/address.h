#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include <net/status.h>

namespace sluice {

/// An Ethernet address.
class MacAddress {
 public:
  static constexpr std::size_t kSize = 6;

  constexpr MacAddress() = default;
  constexpr explicit MacAddress(std::array<std::uint8_t, kSize> bytes) : bytes_(bytes) {}
  static constexpr MacAddress broadcast() {
    return MacAddress({0xff, 0xff, 0xff, 0xff, 0xff, 0xff});
  }
  /// "02:5a:00:00:00:01"; hex digits of either case, ':' or '-'.
  static Result<MacAddress> parse(std::string_view text);

  constexpr const std::array<std::uint8_t, kSize>& bytes() const { return bytes_; }
  constexpr bool is_multicast() const { return (bytes_[0] & 1) != 0; }
  constexpr bool is_zero() const { return *this == MacAddress(); }
  std::string to_string() const;

  friend constexpr auto operator<=>(const MacAddress&, const MacAddress&) = default;

 private:
  std::array<std::uint8_t, kSize> bytes_{};
};

enum class Family : std::uint8_t { v4 = 4, v6 = 6 };

/// An IPv4 or IPv6 address. A v4-mapped IPv6 address stays IPv6; policy looks inside it.
class IpAddress {
 public:
  /// 0.0.0.0
  constexpr IpAddress() = default;
  static constexpr IpAddress v4(std::uint8_t a, std::uint8_t b, std::uint8_t c, std::uint8_t d) {
    IpAddress address;
    address.bytes_ = {a, b, c, d};
    return address;
  }
  /// `value` in host byte order: 0x7f000001 is 127.0.0.1.
  static constexpr IpAddress v4(std::uint32_t value) {
    return v4(static_cast<std::uint8_t>(value >> 24), static_cast<std::uint8_t>(value >> 16),
              static_cast<std::uint8_t>(value >> 8), static_cast<std::uint8_t>(value));
  }
  static constexpr IpAddress v6(const std::array<std::uint8_t, 16>& bytes) {
    IpAddress address;
    address.family_ = Family::v6;
    address.bytes_ = bytes;
    return address;
  }
  /// The unspecified address of a family.
  static constexpr IpAddress any(Family family) {
    return family == Family::v4 ? IpAddress() : v6({});
  }
  static constexpr IpAddress loopback(Family family) {
    if (family == Family::v4) return v4(127, 0, 0, 1);
    std::array<std::uint8_t, 16> bytes{};
    bytes[15] = 1;
    return v6(bytes);
  }
  /// From wire bytes: 4 or 16 of them. Any other size gives 0.0.0.0.
  static IpAddress from_bytes(std::span<const std::uint8_t> bytes);
  /// Dotted quad (four decimal parts, nothing else) or RFC 4291 text without brackets or zone.
  static Result<IpAddress> parse(std::string_view text);

  constexpr Family family() const { return family_; }
  constexpr bool is_v4() const { return family_ == Family::v4; }
  constexpr bool is_v6() const { return family_ == Family::v6; }
  /// Network byte order, 4 or 16 bytes; lives as long as this object.
  constexpr std::span<const std::uint8_t> bytes() const {
    return {bytes_.data(), is_v4() ? std::size_t{4} : std::size_t{16}};
  }
  /// Host byte order. Requires is_v4().
  constexpr std::uint32_t v4_value() const {
    return static_cast<std::uint32_t>(bytes_[0]) << 24 |
           static_cast<std::uint32_t>(bytes_[1]) << 16 |
           static_cast<std::uint32_t>(bytes_[2]) << 8 | bytes_[3];
  }
  constexpr int bits() const { return is_v4() ? 32 : 128; }

  bool is_unspecified() const;
  bool is_loopback() const;
  bool is_multicast() const;
  bool is_link_local() const;  ///< 169.254/16, fe80::/10
  /// 255.255.255.255 only; a subnet's broadcast address needs the subnet.
  bool is_limited_broadcast() const;

  /// RFC 5952 for IPv6.
  std::string to_string() const;

  friend constexpr auto operator<=>(const IpAddress&, const IpAddress&) = default;

 private:
  Family family_ = Family::v4;
  std::array<std::uint8_t, 16> bytes_{};
};

/// An address block. The address is kept masked, so equal blocks compare equal.
class IpPrefix {
 public:
  /// 0.0.0.0/0
  constexpr IpPrefix() = default;
  /// `length` is clamped to the family's bits.
  IpPrefix(const IpAddress& address, int length);
  /// "10.0.0.0/8", "fd00::/64", or an address alone (full length). Host bits are masked away.
  static Result<IpPrefix> parse(std::string_view text);

  const IpAddress& address() const { return address_; }
  int length() const { return length_; }
  Family family() const { return address_.family(); }
  bool contains(const IpAddress& address) const;
  /// Whether the two blocks share an address.
  bool overlaps(const IpPrefix& other) const;
  /// The `index`-th address of the block, counted from its first. Wraps inside the block.
  IpAddress at(std::uint32_t index) const;
  /// The last address of an IPv4 block; of an IPv6 block likewise, though it broadcasts nothing.
  IpAddress last() const;
  std::string to_string() const;

  friend auto operator<=>(const IpPrefix&, const IpPrefix&) = default;

 private:
  IpAddress address_;
  int length_ = 0;
};

/// A TCP or UDP port, host byte order.
class Port {
 public:
  constexpr Port() = default;
  constexpr explicit Port(std::uint16_t value) : value_(value) {}
  /// Decimal 0 to 65535.
  static Result<Port> parse(std::string_view text);
  constexpr std::uint16_t value() const { return value_; }
  friend constexpr auto operator<=>(Port, Port) = default;

 private:
  std::uint16_t value_ = 0;
};

/// An address and a port.
struct Endpoint {
  IpAddress address;
  Port port;

  /// "1.2.3.4:80", "[2001:db8::1]:80". The port is required.
  static Result<Endpoint> parse(std::string_view text);
  std::string to_string() const;
  friend constexpr auto operator<=>(const Endpoint&, const Endpoint&) = default;
};

enum class Protocol : std::uint8_t { icmp, tcp, udp };
std::string_view to_string(Protocol protocol);

}  // namespace sluice

template <>
struct std::hash<sluice::IpAddress> {
  std::size_t operator()(const sluice::IpAddress& address) const noexcept;
};
template <>
struct std::hash<sluice::Endpoint> {
  std::size_t operator()(const sluice::Endpoint& endpoint) const noexcept;
};
template <>
struct std::hash<sluice::MacAddress> {
  std::size_t operator()(const sluice::MacAddress& address) const noexcept;
};
