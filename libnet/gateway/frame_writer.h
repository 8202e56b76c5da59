#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include <net/address.h>

#include "base/bytes.h"
#include "wire/arp.h"
#include "wire/ip.h"

namespace sluice::gateway {

/// Takes a whole Ethernet frame for the guest; the bytes are valid during the call only.
using Emit = std::function<void(ConstBytes frame)>;

/// Puts headers before what the router says and emits the frame. The frame is dropped, quietly,
/// only where an IP packet can't hold the payload, which no caller's limits allow.
class FrameWriter {
 public:
  /// `mtu`: largest IP packet, bytes; longer ones go out in fragments.
  FrameWriter(const MacAddress& own_mac, std::size_t mtu, Emit emit)
      : own_mac_(own_mac), mtu_(mtu), emit_(std::move(emit)) {}

  const MacAddress& own_mac() const { return own_mac_; }

  void arp(const MacAddress& to, const wire::ArpPacket& packet);
  void udp(const MacAddress& to, const Endpoint& source, const Endpoint& destination,
           ConstBytes payload);
  /// An ICMPv6 message that `message.emit(out, source, destination)` writes, with hop limit 255.
  template <typename Message>
  void ndp(const MacAddress& to, const IpAddress& source, const IpAddress& destination,
           const Message& message) {
    wire::IpHeader header;
    header.source = source;
    header.destination = destination;
    header.protocol = wire::IpProtocol::icmpv6;
    header.ttl = 255;
    icmp(to, header, message);
  }
  /// An ICMP message likewise, behind a header whose payload_size is filled in.
  template <typename Message>
  void icmp(const MacAddress& to, wire::IpHeader header, const Message& message) {
    header.payload_size = message.size();
    payload_.resize(message.size());
    if (message.emit(payload_, header.source, header.destination) == message.size()) {
      send_packet(to, header);
    }
  }

 private:
  void send_packet(const MacAddress& to, const wire::IpHeader& header);

  MacAddress own_mac_;
  std::size_t mtu_;
  Emit emit_;
  std::uint32_t next_fragment_id_ = 1;
  std::vector<std::uint8_t> payload_;
  std::vector<std::uint8_t> frame_;
};

}  // namespace sluice::gateway
