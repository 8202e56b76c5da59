#include "core/config_check.h"

#include <fmt/format.h>

#include "base/number.h"

namespace sluice::core {

namespace {

constexpr std::uint16_t kLeastMtu = 1280;  // RFC 8200 section 5
constexpr std::uint16_t kMostMtu = 65520;  // what QEMU's and libkrun's NICs take as a frame
constexpr int kLongestSubnet = 29;         // gateway, guest and host alias have to fit

Status check_mtu(unsigned mtu) {
  if (mtu >= kLeastMtu && mtu <= kMostMtu) return Status::ok();
  return Status::invalid_argument(
      fmt::format("a number from {} to {} is needed", kLeastMtu, kMostMtu));
}

}  // namespace

Result<std::uint16_t> parse_mtu(std::string_view text) {
  auto mtu = parse_number<std::uint16_t>(text);
  if (Status status = check_mtu(mtu.value_or(0)); !status) return status;
  return *mtu;
}

Result<gateway::Config> make_gateway_config(const NetworkConfig& config) {
  gateway::Config out;
  const IpPrefix& subnet = config.subnet4;
  if (subnet.family() != Family::v4 || subnet.length() > kLongestSubnet || subnet.length() < 8) {
    return Status::invalid_argument(
        fmt::format("subnet {}: an IPv4 block from /8 to /{} is needed, such as "
                    "192.168.127.0/24",
                    subnet.to_string(), kLongestSubnet));
  }
  if (config.prefix6.family() != Family::v6 || config.prefix6.length() != 64) {
    return Status::invalid_argument(fmt::format(
        "prefix6 {}: an IPv6 /64 is needed, such as fd00:1::/64", config.prefix6.to_string()));
  }
  if (Status status = check_mtu(config.mtu); !status) {
    return Status::invalid_argument(fmt::format("mtu {}: {}", config.mtu, status.message()));
  }
  if (config.max_flows == 0 || config.max_held_syns == 0) {
    return Status::invalid_argument(
        "max-flows and max-held-syns: at least 1, or no connection is possible");
  }
  out.subnet4 = subnet;
  out.prefix6 = config.prefix6;
  out.gateway4 = config.gateway4.value_or(subnet.at(1));
  std::uint32_t gateway_index = out.gateway4.v4_value() - subnet.address().v4_value();
  IpAddress broadcast = subnet.last();
  IpAddress next = subnet.at(gateway_index + 1);
  if (next == broadcast && gateway_index > 1) next = subnet.at(gateway_index - 1);
  out.first_guest4 = config.guest4.value_or(next);
  std::uint32_t alias = broadcast.v4_value() - 1;
  while (IpAddress::v4(alias) == out.gateway4 || IpAddress::v4(alias) == out.first_guest4) --alias;
  out.host_alias4 = config.host_alias4.value_or(IpAddress::v4(alias));
  struct Named {
    const char* setting;
    IpAddress address;
  };
  const Named named[] = {
      {"gateway", out.gateway4}, {"guest", out.first_guest4}, {"host-alias", out.host_alias4}};
  for (const Named& one : named) {
    if (!subnet.contains(one.address) || one.address == subnet.address() ||
        one.address == broadcast) {
      return Status::invalid_argument(fmt::format("{} {}: not a host address of the subnet {}",
                                                  one.setting, one.address.to_string(),
                                                  subnet.to_string()));
    }
    for (const Named* before = named; before != &one; ++before) {
      if (one.address == before->address) {
        return Status::invalid_argument(
            fmt::format("{} {}: that is the {}'s address; choose another", one.setting,
                        one.address.to_string(), before->setting));
      }
    }
  }
  out.gateway6 = out.prefix6.at(1);
  out.first_guest6 = out.prefix6.at(2);
  out.host_alias6 = out.prefix6.at(254);
  out.mtu = config.mtu;
  auto guest_name = DomainName::parse(config.guest_name);
  if (!guest_name || guest_name->labels() != 1) {
    return Status::invalid_argument(fmt::format(
        "guest-name '{}': one label of letters, digits and '-' is needed", config.guest_name));
  }
  out.guest_name = guest_name->text();
  out.domain = *DomainName::parse("vm.internal");
  for (const auto& [mac, address] : config.static_leases) {
    bool in_subnet = subnet.contains(address) || out.prefix6.contains(address);
    bool taken = address == out.gateway4 || address == out.host_alias4 || address == out.gateway6 ||
                 address == *out.host_alias6 || address == subnet.address() || address == broadcast;
    if (!in_subnet || taken || mac.is_multicast() || mac.is_zero()) {
      return Status::invalid_argument(
          fmt::format("lease {} = {}: a guest's MAC and an address of the subnet are needed",
                      mac.to_string(), address.to_string()));
    }
    out.static_leases.push_back({mac, address, {}});
  }
  for (const IpPrefix& prefix : config.routed_prefixes) {
    if (prefix.overlaps(subnet) || prefix.overlaps(out.prefix6)) {
      return Status::invalid_argument(
          fmt::format("route {}: overlaps the guest's own subnet", prefix.to_string()));
    }
  }
  out.routed = config.routed_prefixes;
  return out;
}

}  // namespace sluice::core
