#include "wire/arp.h"

#include <algorithm>

namespace sluice::wire {

namespace {

constexpr std::uint16_t kHardwareEthernet = 1;
constexpr std::uint16_t kProtocolIpv4 = 0x0800;

MacAddress mac_at(const std::uint8_t* p) {
  std::array<std::uint8_t, MacAddress::kSize> bytes;
  std::copy_n(p, bytes.size(), bytes.begin());
  return MacAddress(bytes);
}

}  // namespace

std::optional<ArpPacket> ArpPacket::parse(ConstBytes payload) {
  if (payload.size() < size()) return std::nullopt;
  const std::uint8_t* p = payload.data();
  if (load_be16(p) != kHardwareEthernet || load_be16(p + 2) != kProtocolIpv4) return std::nullopt;
  if (p[4] != MacAddress::kSize || p[5] != 4) return std::nullopt;
  std::uint16_t operation = load_be16(p + 6);
  if (operation != 1 && operation != 2) return std::nullopt;
  ArpPacket packet;
  packet.operation = static_cast<ArpOperation>(operation);
  packet.sender_mac = mac_at(p + 8);
  packet.sender_ip = IpAddress::v4(load_be32(p + 14));
  packet.target_mac = mac_at(p + 18);
  packet.target_ip = IpAddress::v4(load_be32(p + 24));
  return packet;
}

std::size_t ArpPacket::emit(Bytes out) const {
  if (out.size() < size() || !sender_ip.is_v4() || !target_ip.is_v4()) return 0;
  std::uint8_t* p = out.data();
  store_be16(p, kHardwareEthernet);
  store_be16(p + 2, kProtocolIpv4);
  p[4] = MacAddress::kSize;
  p[5] = 4;
  store_be16(p + 6, static_cast<std::uint16_t>(operation));
  std::ranges::copy(sender_mac.bytes(), p + 8);
  store_be32(p + 14, sender_ip.v4_value());
  std::ranges::copy(target_mac.bytes(), p + 18);
  store_be32(p + 24, target_ip.v4_value());
  return size();
}

}  // namespace sluice::wire
