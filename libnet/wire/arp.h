#pragma once

#include <cstdint>
#include <optional>

#include <net/address.h>

#include "base/bytes.h"

namespace sluice::wire {

enum class ArpOperation : std::uint16_t { request = 1, reply = 2 };

/// An ARP packet for IPv4 over Ethernet (RFC 826), as a value: the format has no optional parts.
struct ArpPacket {
  ArpOperation operation = ArpOperation::request;
  MacAddress sender_mac;
  IpAddress sender_ip;
  MacAddress target_mac;
  IpAddress target_ip;

  /// Nothing unless it is 28 bytes or more (padding ignored), hardware type 1 with 6-byte
  /// addresses, protocol IPv4 with 4-byte ones, and a request or a reply.
  static std::optional<ArpPacket> parse(ConstBytes payload);

  /// Sender and target address are the same (RFC 5227 section 3): an announcement.
  bool is_gratuitous() const { return sender_ip == target_ip; }
  /// Asks whether an address is in use, claiming none (RFC 5227 section 1.1).
  bool is_probe() const { return operation == ArpOperation::request && sender_ip.is_unspecified(); }

  static constexpr std::size_t size() { return 28; }
  /// Bytes written; 0, and nothing is written, where `out` is shorter than size() or an address is
  /// not IPv4.
  std::size_t emit(Bytes out) const;
};

}  // namespace sluice::wire
