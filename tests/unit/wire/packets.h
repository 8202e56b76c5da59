#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include <net/address.h>

#include "base/bytes.h"
#include "wire/checksum.h"
#include "wire/ip.h"

// Packets to begin a test from; each test breaks what it is about.

namespace sluice::testing {

using Frame = std::vector<std::uint8_t>;

inline const IpAddress kV4Guest = IpAddress::v4(192, 168, 127, 2);
inline const IpAddress kV4Peer = IpAddress::v4(198, 51, 100, 7);
inline const IpAddress kV6Guest =
    IpAddress::v6({0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2});
inline const IpAddress kV6Peer =
    IpAddress::v6({0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7});

inline Frame concat(std::initializer_list<ConstBytes> parts) {
  Frame whole;
  for (ConstBytes part : parts) whole.insert(whole.end(), part.begin(), part.end());
  return whole;
}

/// `count` bytes that differ from their neighbours.
inline Frame pattern(std::size_t count, std::uint32_t seed = 1) {
  Frame bytes(count);
  for (auto& byte : bytes) {
    seed = seed * 1664525 + 1013904223;
    byte = static_cast<std::uint8_t>(seed >> 24);
  }
  return bytes;
}

/// From the guest to the peer, of the family.
inline Frame ip_packet(Family family, wire::IpProtocol protocol, ConstBytes payload) {
  wire::IpHeader ip;
  ip.source = family == Family::v4 ? kV4Guest : kV6Guest;
  ip.destination = family == Family::v4 ? kV4Peer : kV6Peer;
  ip.protocol = protocol;
  ip.payload_size = payload.size();
  Frame packet(ip.size() + payload.size());
  ip.emit(packet);
  std::ranges::copy(payload, packet.begin() + static_cast<std::ptrdiff_t>(ip.size()));
  return packet;
}

/// An IPv4 packet with `options`, which must be a multiple of 4 and at most 40 bytes.
inline Frame ipv4_with_options(ConstBytes options, ConstBytes payload) {
  Frame packet = ip_packet(Family::v4, wire::IpProtocol::udp, {});
  packet.insert(packet.end(), options.begin(), options.end());
  packet.insert(packet.end(), payload.begin(), payload.end());
  packet[0] = static_cast<std::uint8_t>(0x40 | (20 + options.size()) / 4);
  store_be16(&packet[2], static_cast<std::uint16_t>(packet.size()));
  return packet;
}

}  // namespace sluice::testing
