#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "flow/icmp_relay.h"
#include "flow/relay_world.h"
#include "flow/udp_relay.h"
#include "wire/icmp.h"
#include "wire/udp.h"

namespace sluice::test {

inline IpAddress ip(std::string_view text) {
  return *IpAddress::parse(text);
}
inline Endpoint at(std::string_view text) {
  return *Endpoint::parse(text);
}
inline std::string text_of(ConstBytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
inline ConstBytes bytes_of(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

/// A UDP datagram that reached the guest.
struct SeenDatagram {
  Endpoint from;
  Endpoint to;
  std::string data;
  friend bool operator==(const SeenDatagram&, const SeenDatagram&) = default;
};

/// An ICMP error that reached the guest.
struct SeenError {
  IpAddress from;
  IpAddress to;
  std::optional<wire::IcmpError> error;
  std::uint32_t value = 0;
  Endpoint quoted_source;
  Endpoint quoted_destination;
};

/// The packets in the log that are UDP; they stay there.
inline std::vector<SeenDatagram> datagrams_in(const PacketLog& log) {
  std::vector<SeenDatagram> out;
  for (const auto& bytes : log.packets) {
    auto packet = wire::Packet::parse(bytes);
    if (!packet || packet->protocol() != wire::IpProtocol::udp) continue;
    auto udp = wire::UdpView::parse(packet->payload());
    if (!udp || !udp->checksum_ok(packet->source(), packet->destination())) continue;
    out.push_back({{packet->source(), udp->source_port()},
                   {packet->destination(), udp->destination_port()},
                   text_of(udp->payload())});
  }
  return out;
}

/// The packets in the log that are ICMP errors; they stay there.
inline std::vector<SeenError> errors_in(const PacketLog& log) {
  std::vector<SeenError> out;
  for (const auto& bytes : log.packets) {
    auto packet = wire::Packet::parse(bytes);
    if (!packet) continue;
    auto icmp = wire::IcmpView::parse(packet->family(), packet->payload());
    if (!icmp || !icmp->is_error() || !icmp->checksum_ok(packet->source(), packet->destination())) {
      continue;
    }
    SeenError one{
        packet->source(), packet->destination(), icmp->error(), icmp->error_value(), {}, {}};
    if (auto quoted = wire::parse_quoted(packet->family(), icmp->payload())) {
      one.quoted_source = {quoted->source, Port(load_be16(quoted->transport.data()))};
      one.quoted_destination = {quoted->destination, Port(load_be16(quoted->transport.data() + 2))};
    }
    out.push_back(one);
  }
  return out;
}

/// UDP and ICMP relays between a guest's packets and scripted sockets, in virtual time.
class DatagramWorld {
 public:
  explicit DatagramWorld(const flow::UdpLimits& udp_limits = {},
                         const flow::IcmpLimits& icmp_limits = {})
      : udp(loop, net, gate, output, answers, udp_limits),
        icmp(loop, net, gate, output, answers, icmp_limits) {}

  /// The guest sends a datagram, without run().
  void give(const Endpoint& from, const Endpoint& to, std::string_view data,
            std::uint8_t ttl = 64) {
    BufferRef buffer = CountedBuffer::make(data.size() + 64, &live_buffers);
    Bytes memory = CountedBuffer::own(buffer.get())->bytes;
    std::size_t size = wire::emit_udp(memory, from, to, bytes_of(data));
    memory[from.address.is_v4() ? 8 : 7] = ttl;
    auto packet = wire::Packet::parse(memory.first(size));
    udp.on_datagram(*packet, *wire::UdpView::parse(packet->payload()), buffer);
  }
  void send(const Endpoint& from, const Endpoint& to, std::string_view data,
            std::uint8_t ttl = 64) {
    give(from, to, data, ttl);
    settle();
  }
  /// The guest sends an echo request.
  void ping(const IpAddress& from, const IpAddress& to, std::uint16_t id, std::uint16_t sequence,
            std::string_view data = "ping", std::uint8_t ttl = 64) {
    wire::IcmpEcho echo{.kind = wire::EchoKind::request,
                        .identifier = id,
                        .sequence = sequence,
                        .data = bytes_of(data)};
    wire::IpHeader header;
    header.source = from;
    header.destination = to;
    header.protocol = from.is_v4() ? wire::IpProtocol::icmp : wire::IpProtocol::icmpv6;
    header.ttl = ttl;
    header.payload_size = echo.size();
    std::vector<std::uint8_t> memory(header.size() + echo.size());
    echo.emit(Bytes(memory).subspan(header.emit(memory)), from, to);
    auto packet = wire::Packet::parse(memory);
    icmp.on_echo(*packet, *wire::IcmpView::parse(packet->family(), packet->payload()));
    settle();
  }
  void settle() {
    for (int i = 0; i < 64; ++i) {
      loop.run_ready();
      if (!udp.has_work() && !icmp.has_work()) break;
      if (udp.has_work()) udp.run();
      if (icmp.has_work()) icmp.run();
    }
  }
  void pass(Duration time) {
    loop.advance(time);
    settle();
  }

  VirtualLoop loop;
  ScriptedNet net{loop};
  ScriptedGate gate;
  PacketLog output;
  flow::IcmpAnswers answers{loop, output};
  std::size_t live_buffers = 0;
  flow::UdpRelay udp;
  flow::IcmpRelay icmp;
};

}  // namespace sluice::test
