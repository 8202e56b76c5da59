#include "core/guest_sender.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "wire/ethernet.h"
#include "wire/fragment.h"
#include "wire/ip.h"
#include "wire/udp.h"

namespace sluice::core {

namespace {

wire::EtherType ether_type(Family family) {
  return family == Family::v4 ? wire::EtherType::ipv4 : wire::EtherType::ipv6;
}

iovec piece_of(ConstBytes bytes) {
  return {const_cast<std::uint8_t*>(bytes.data()), bytes.size()};  // NOLINT: iovec, only read
}

}  // namespace

bool GuestSender::send_segment(const stack::OutSegment& segment) {
  if (!port_) return segment.unrepeatable;
  std::optional<MacAddress> mac = gateway_->mac_of(segment.destination);
  if (!mac) {
    if (!gateway_->resolve(segment.destination, loop_.now())) ++counters_.packets_unresolved;
    return segment.unrepeatable;
  }
  std::array<std::uint8_t, link::kMaxHead> head;
  wire::EthernetHeader ethernet{*mac, config_.mac, ether_type(segment.source.family())};
  std::size_t size = ethernet.emit(head);
  wire::IpHeader ip;
  ip.source = segment.source;
  ip.destination = segment.destination;
  ip.protocol = wire::IpProtocol::tcp;
  ip.payload_size = segment.header.size() + segment.payload_size;
  size += ip.emit(Bytes(head).subspan(size));
  std::size_t l4 = size;
  std::memcpy(head.data() + size, segment.header.data(), segment.header.size());
  size += segment.header.size();

  link::RxFrame frame{.head = ConstBytes(head).first(size),
                      .payload = segment.payload,
                      .payload_size = segment.payload_size,
                      .unread = segment.unread,
                      .offload = link::Offload::tcp,
                      .l4_offset = static_cast<std::uint16_t>(l4),
                      .segment_size = segment.segment_size,
                      .release = segment.release,
                      .owner = segment.owner};
  // A bare ACK or RST is small and worth more than its room.
  bool control = segment.payload_size == 0;
  return port_->send(frame, control ? link::FrameClass::control : link::FrameClass::data) ==
         link::SendResult::sent;
}

void GuestSender::send_packet(ConstBytes packet) {
  auto view = wire::Packet::parse(packet);
  if (!view) return;
  wire::IpHeader header;
  header.source = view->source();
  header.destination = view->destination();
  header.protocol = view->protocol();
  header.ttl = view->ttl();
  header.traffic_class = view->traffic_class();
  header.dont_fragment = view->dont_fragment();
  header.payload_size = view->payload().size();
  iovec payload = piece_of(view->payload());
  send(header, {&payload, 1});
}

void GuestSender::send_udp(const Endpoint& source, const Endpoint& guest, ConstBytes payload) {
  if (source.address.family() != guest.address.family()) return;
  wire::UdpHeader udp{source.port, guest.port, payload.size()};
  wire::IpHeader header;
  header.source = source.address;
  header.destination = guest.address;
  header.protocol = wire::IpProtocol::udp;
  header.payload_size = udp.size() + payload.size();
  wire::Checksum rest =
      wire::pseudo_header(source.address, guest.address, header.protocol, header.payload_size);
  rest.add(payload);
  std::array<std::uint8_t, wire::kUdpHeaderSize> head;
  if (udp.emit(head, rest) == 0) return;
  std::array<iovec, 2> pieces{piece_of(head), piece_of(payload)};
  send(header, pieces);
}

void GuestSender::send(const wire::IpHeader& header, std::span<const iovec> payload) {
  if (!port_) {
    ++counters_.packets_no_guest;
    return;
  }
  if (std::optional<MacAddress> mac = gateway_->mac_of(header.destination)) {
    send_to(*mac, header, payload);
    return;
  }
  if (!gateway_->resolve(header.destination, loop_.now())) {
    ++counters_.packets_unresolved;
    return;
  }
  if (waiting_.size() >= kMaxWaiting) {
    waiting_.pop_front();
    ++counters_.packets_unresolved;
  }
  Waiting& waiting = waiting_.emplace_back(Waiting{header, {}});
  waiting.payload.reserve(header.payload_size);
  for (const iovec& piece : payload) {
    const auto* begin = static_cast<const std::uint8_t*>(piece.iov_base);
    waiting.payload.insert(waiting.payload.end(), begin, begin + piece.iov_len);
  }
}

void GuestSender::send_to(const MacAddress& mac, const wire::IpHeader& header,
                          std::span<const iovec> payload) {
  auto fragmenter = wire::Fragmenter::make(header, config_.mtu, next_id_++);
  if (!fragmenter) return;
  wire::EthernetHeader ethernet{mac, config_.mac, ether_type(header.source.family())};
  std::array<std::uint8_t, link::kMaxHead> head;
  std::size_t base = ethernet.emit(head);
  while (auto slice = fragmenter->next()) {
    ConstBytes ip = slice->header();
    std::memcpy(head.data() + base, ip.data(), ip.size());
    std::array<iovec, 2> pieces;
    std::size_t count =
        wire::slice_pieces(payload, slice->payload_offset, slice->payload_size, pieces);
    send_control(ConstBytes(head).first(base + ip.size()), std::span(pieces).first(count),
                 slice->payload_size);
  }
}

void GuestSender::send_frame(ConstBytes frame) {
  if (!port_) {
    ++counters_.packets_no_guest;
    return;
  }
  std::size_t head = std::min(frame.size(), link::kMaxHead);
  iovec rest = piece_of(frame.subspan(head));
  send_control(frame.first(head), {&rest, rest.iov_len == 0 ? 0u : 1u}, rest.iov_len);
}

void GuestSender::send_control(ConstBytes head, std::span<const iovec> payload,
                               std::size_t payload_size) {
  link::RxFrame frame{.head = head, .payload = payload, .payload_size = payload_size};
  if (port_->send(frame, link::FrameClass::control) != link::SendResult::sent) {
    ++counters_.packets_refused;
  }
}

void GuestSender::on_resolved(const IpAddress& address, std::optional<MacAddress> mac) {
  std::deque<Waiting> waiting;
  waiting.swap(waiting_);
  for (Waiting& packet : waiting) {
    if (packet.header.destination != address) {
      waiting_.push_back(std::move(packet));
    } else if (mac && port_) {
      iovec payload = piece_of(packet.payload);
      send_to(*mac, packet.header, {&payload, 1});
    } else {
      ++counters_.packets_unresolved;
    }
  }
}

}  // namespace sluice::core
