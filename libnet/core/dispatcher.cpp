#include "core/dispatcher.h"

#include <array>

#include "base/owned_bytes.h"
#include "wire/dns.h"
#include "wire/ethernet.h"
#include "wire/icmp.h"
#include "wire/tcp.h"
#include "wire/udp.h"

namespace sluice::core {

void Dispatcher::on_frames(std::span<link::TxFrame> frames) {
  heard_ = true;
  in_batch_ = true;
  for (link::TxFrame& frame : frames) {
    if (!parts_.tcp.join(frame.bytes, frame.buffer, frame.checksum_trusted, frame.lent)) {
      on_frame(frame);
    }
  }
  in_batch_ = false;
  parts_.end_batch();
}

void Dispatcher::on_frame(link::TxFrame& frame) {
  auto ethernet = wire::EthernetView::parse(frame.bytes);
  if (!ethernet) {
    ++counters_.malformed;
    return;
  }
  TimePoint now = parts_.loop.now();
  auto checksums =
      frame.checksum_trusted ? gateway::Checksums::trusted : gateway::Checksums::verify;
  if (ethernet->type() == wire::EtherType::arp) {
    parts_.gateway.handle(frame.bytes, now, checksums);
    return;
  }
  if (ethernet->type() != wire::EtherType::ipv4 && ethernet->type() != wire::EtherType::ipv6) {
    ++counters_.unknown_ethertype;
    return;
  }
  Bytes bytes = frame.bytes.subspan(wire::kEthernetHeaderSize);
  auto packet = wire::Packet::parse(bytes);
  Family family = ethernet->type() == wire::EtherType::ipv4 ? Family::v4 : Family::v6;
  if (!packet || packet->family() != family) {
    ++counters_.malformed;
    return;
  }
  MacAddress source = ethernet->source();
  std::size_t size = wire::kEthernetHeaderSize + packet->total_size();
  if (frame.lent) {
    // As long as nobody but TCP looks at it, and it is the packet's end and not what pads it.
    bool stays = packet->protocol() == wire::IpProtocol::tcp && !packet->is_fragment() &&
                 packet->ttl() > 1 && size == frame.bytes.size();
    if (!stays) {
      frame.lent.complete(frame.bytes, frame.buffer);
      packet = wire::Packet::parse(frame.bytes.subspan(wire::kEthernetHeaderSize));
    }
  }
  if (!packet->header_checksum_ok()) {
    ++counters_.bad_checksum;
    return;
  }
  if (packet->is_fragment()) {
    if (parts_.gateway.check_source(source, packet->source(), now) !=
        gateway::SourceCheck::allowed) {
      ++counters_.spoofed;
      return;
    }
    if (auto whole = parts_.reassembler.add(*packet, now)) {
      auto owned = std::make_unique<ReadBytes>(std::move(whole->storage));
      BufferRef buffer(owned.get());
      Bytes storage(owned.release()->bytes);
      // The packet views the storage, maybe behind room left for larger headers.
      auto at = static_cast<std::size_t>(whole->packet.bytes().data() - storage.data());
      on_packet(source, whole->packet,
                {.bytes = storage.subspan(at, whole->packet.total_size()),
                 .buffer = buffer,
                 .checksum_trusted = frame.checksum_trusted});
    }
    return;
  }
  frame.bytes = frame.bytes.first(size);
  on_packet(source, *packet, frame);
}

void Dispatcher::on_packet(const MacAddress& source, const wire::Packet& packet,
                           const link::TxFrame& frame) {
  TimePoint now = parts_.loop.now();
  bool trusted = frame.checksum_trusted;
  auto checksums = trusted ? gateway::Checksums::trusted : gateway::Checksums::verify;
  bool tcp = packet.protocol() == wire::IpProtocol::tcp;
  if (!tcp && parts_.gateway.handle_packet(source, packet, now, checksums)) return;
  if (parts_.gateway.check_source(source, packet.source(), now) != gateway::SourceCheck::allowed) {
    ++counters_.spoofed;
    return;
  }
  const IpAddress& to = packet.destination();
  if (to.is_multicast() || to.is_limited_broadcast() || to.is_unspecified() ||
      to == parts_.gateway.config().subnet4.last()) {
    ++counters_.not_for_us;
    return;
  }
  if (packet.ttl() <= 1 && !parts_.gateway.is_own(to)) {
    ++counters_.ttl_exceeded;
    if (!wire::may_answer_with_error(packet)) return;
    std::array<std::uint8_t, wire::kMaxIcmpv6Error> error;
    std::size_t size =
        wire::emit_icmp_error(error, parts_.sender.gateway_address(packet.family()),
                              packet.source(), packet.bytes(), wire::IcmpError::ttl_exceeded);
    parts_.sender.send_packet(ConstBytes(error).first(size));
    return;
  }
  switch (packet.protocol()) {
    case wire::IpProtocol::tcp:
      on_tcp(packet, frame);
      return;
    case wire::IpProtocol::udp:
      on_udp(packet, frame.buffer, trusted);
      return;
    case wire::IpProtocol::icmp:
    case wire::IpProtocol::icmpv6: {
      auto icmp = wire::IcmpView::parse(packet.family(), packet.payload());
      if (!icmp || !icmp->checksum_ok(packet.source(), packet.destination())) {
        ++counters_.malformed;
      } else if (icmp->is_echo_request()) {
        parts_.icmp.on_echo(packet, *icmp);
      }
      return;
    }
    default:
      ++counters_.unknown_protocol;
      if (wire::may_answer_with_error(packet)) {
        std::array<std::uint8_t, wire::kMaxIcmpv6Error> error;
        std::size_t size = wire::emit_icmp_error(
            error, parts_.sender.gateway_address(packet.family()), packet.source(), packet.bytes(),
            wire::IcmpError::protocol_unreachable,
            packet.family() == Family::v6 ? static_cast<std::uint32_t>(6) : 0);
        parts_.sender.send_packet(ConstBytes(error).first(size));
      }
  }
}

void Dispatcher::on_tcp(const wire::Packet& packet, const link::TxFrame& frame) {
  auto segment = wire::TcpView::parse(packet.payload());
  if (!segment || !segment->flags().are_sane() || segment->source_port() == Port(0) ||
      segment->destination_port() == Port(0)) {
    ++counters_.malformed;
    return;
  }
  if (!frame.checksum_trusted && !segment->checksum_ok(packet.source(), packet.destination())) {
    ++counters_.bad_checksum;
    return;
  }
  std::size_t size = packet.total_size();
  bool is_own_frame = frame.bytes.size() > size;
  parts_.tcp.input({.key = {{packet.source(), segment->source_port()},
                            {packet.destination(), segment->destination_port()}},
                    .packet = frame.bytes.last(size),
                    .frame = is_own_frame ? frame.bytes : Bytes(),
                    .tcp_at = packet.header_size(),
                    .header_size = segment->header_size(),
                    .buffer = frame.buffer,
                    .lent = frame.lent});
}

void Dispatcher::on_udp(const wire::Packet& packet, const BufferRef& buffer, bool trusted) {
  auto datagram = wire::UdpView::parse(packet.payload());
  if (!datagram || datagram->destination_port() == Port(0)) {
    ++counters_.malformed;
    return;
  }
  if (!trusted && !datagram->checksum_ok(packet.source(), packet.destination())) {
    ++counters_.bad_checksum;
    return;
  }
  if (datagram->destination_port() == wire::kDnsPort) {
    on_dns({packet.source(), datagram->source_port()}, {packet.destination(), wire::kDnsPort},
           datagram->payload());
    return;
  }
  if (parts_.published(packet, *datagram)) return;
  parts_.udp.on_datagram(packet, *datagram, buffer);
}

void Dispatcher::on_dns(const Endpoint& guest, const Endpoint& server, ConstBytes query) {
  parts_.dns.query(query, dns::Transport::udp, {.guest = 0, .source = guest, .server = server},
                   [this, guest, server](std::vector<std::uint8_t> reply) {
                     if (reply.empty()) return;
                     parts_.sender.send_udp(server, guest, reply);
                     // One that had to wait goes out with what else this turn of the loop brings.
                     if (!in_batch_) parts_.flush_later();
                   });
}

}  // namespace sluice::core
