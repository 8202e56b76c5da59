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
  FrameWriter(const MacAddress& own_mac, Emit emit) : own_mac_(own_mac), emit_(std::move(emit)) {}

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
    Bytes out = begin(to, header);
    if (out.size() == message.size() &&
        message.emit(out, header.source, header.destination) == message.size()) {
      emit_(frame_);
    }
  }

 private:
  /// The payload's place in a frame with its Ethernet and IP header; empty where impossible.
  Bytes begin(const MacAddress& to, const wire::IpHeader& header);

  MacAddress own_mac_;
  Emit emit_;
  std::vector<std::uint8_t> frame_;
};

}  // namespace sluice::gateway
