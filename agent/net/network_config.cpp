#include "agent/net/network_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace sluice::agent {
namespace {

constexpr std::uint32_t kMinMtu = 576;  // RFC 791: what every host takes
constexpr std::uint32_t kMaxMtu = 65535;
constexpr std::uint32_t kMinIpv6Mtu = 1280;  // RFC 8200 section 5; the kernel drops IPv6 below it
constexpr std::size_t kMaxName = 15;

bool is_host_address(const IpAddress& address) {
  return !address.is_unspecified() && !address.is_multicast() && !address.is_loopback() &&
         !address.is_limited_broadcast();
}

Status check_addresses(const NetworkConfig& config) {
  for (const AddressOnLink& own : config.addresses) {
    std::string text = fmt::format("{}/{}", own.address.to_string(), own.prefix_length);
    if (!is_host_address(own.address))
      return Status::invalid_argument(fmt::format("address {}: no host's", text));
    if (own.prefix_length < 1 || own.prefix_length > own.address.bits()) {
      return Status::invalid_argument(
          fmt::format("address {}: the prefix length must be 1 to {}", text, own.address.bits()));
    }
    bool is_off = own.address.is_v4() ? config.ipv4 == Ipv4Mode::off : config.ipv6 == Ipv6Mode::off;
    if (is_off) return Status::invalid_argument(fmt::format("address {}: its family is off", text));
  }
  auto count = [&](Family family) {
    return std::ranges::count_if(
        config.addresses, [&](const AddressOnLink& own) { return own.address.family() == family; });
  };
  if (config.ipv4 == Ipv4Mode::fixed && count(Family::v4) == 0) {
    return Status::invalid_argument("IPv4 is fixed, but there is no IPv4 address");
  }
  if (config.ipv6 == Ipv6Mode::fixed && count(Family::v6) == 0) {
    return Status::invalid_argument("IPv6 is fixed, but there is no IPv6 address");
  }
  return Status::ok();
}

Status check_gateway(const std::optional<IpAddress>& gateway, Family family, bool is_off) {
  if (!gateway) return Status::ok();
  std::string text = gateway->to_string();
  if (gateway->family() != family || !is_host_address(*gateway)) {
    return Status::invalid_argument(fmt::format("gateway {}: no host of its family", text));
  }
  if (is_off) return Status::invalid_argument(fmt::format("gateway {}: its family is off", text));
  return Status::ok();
}

}  // namespace

Result<AddressOnLink> AddressOnLink::parse(std::string_view text) {
  std::size_t slash = text.find('/');
  auto address = IpAddress::parse(text.substr(0, slash));
  if (!address) return address.status();
  AddressOnLink result{*address, address->bits()};
  if (slash == std::string_view::npos) return result;
  std::string_view length = text.substr(slash + 1);
  auto [end, error] = std::from_chars(length.begin(), length.end(), result.prefix_length);
  if (error != std::errc() || end != length.end() || length.empty() || result.prefix_length < 0 ||
      result.prefix_length > address->bits()) {
    return Status::invalid_argument(
        fmt::format("\"{}\": the prefix length must be 0 to {}", text, address->bits()));
  }
  return result;
}

Status check(const NetworkConfig& config) {
  if (config.interface.size() > kMaxName || config.interface.find('/') != std::string::npos) {
    return Status::invalid_argument(
        fmt::format("interface \"{}\": no interface has this name", config.interface));
  }
  if (Status status = check_addresses(config); !status) return status;
  Status status = check_gateway(config.gateway4, Family::v4, config.ipv4 == Ipv4Mode::off);
  if (!status) return status;
  status = check_gateway(config.gateway6, Family::v6, config.ipv6 == Ipv6Mode::off);
  if (!status) return status;
  if (config.mtu != 0 && (config.mtu < kMinMtu || config.mtu > kMaxMtu)) {
    return Status::invalid_argument(
        fmt::format("mtu {}: must be {} to {}", config.mtu, kMinMtu, kMaxMtu));
  }
  if (config.mtu != 0 && config.mtu < kMinIpv6Mtu && config.ipv6 != Ipv6Mode::off) {
    return Status::invalid_argument(fmt::format("mtu {}: IPv6 needs {}", config.mtu, kMinIpv6Mtu));
  }
  return Status::ok();
}

}  // namespace sluice::agent
