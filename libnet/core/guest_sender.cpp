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
  if (!port_) {
    ++counters_.packets_no_guest;
    return;
  }
  if (std::optional<MacAddress> mac = gateway_->mac_of(view->destination())) {
    send_to(*mac, packet);
    return;
  }
  if (!gateway_->resolve(view->destination(), loop_.now())) {
    ++counters_.packets_unresolved;
    return;
  }
  if (waiting_.size() >= kMaxWaiting) {
    waiting_.pop_front();
    ++counters_.packets_unresolved;
  }
  waiting_.emplace_back(packet.begin(), packet.end());
}

void GuestSender::send_to(const MacAddress& mac, ConstBytes packet) {
  auto view = wire::Packet::parse(packet);
  wire::EthernetHeader ethernet{mac, config_.mac, ether_type(view->family())};
  std::array<std::uint8_t, link::kMaxHead> head;
  std::size_t base = ethernet.emit(head);
  auto send = [&](ConstBytes header, ConstBytes payload) {
    std::memcpy(head.data() + base, header.data(), header.size());
    iovec piece{const_cast<std::uint8_t*>(payload.data()), payload.size()};  // NOLINT: iovec reads
    link::RxFrame frame{.head = ConstBytes(head).first(base + header.size()),
                        .payload = {&piece, payload.empty() ? 0u : 1u},
                        .payload_size = payload.size()};
    if (port_->send(frame, link::FrameClass::control) != link::SendResult::sent) {
      ++counters_.packets_refused;
    }
  };
  ConstBytes payload = view->payload();
  if (packet.size() <= config_.mtu) {
    send(packet.first(view->header_size()), payload);
    return;
  }
  wire::IpHeader header;
  header.source = view->source();
  header.destination = view->destination();
  header.protocol = view->protocol();
  header.ttl = view->ttl();
  header.traffic_class = view->traffic_class();
  header.payload_size = payload.size();
  auto fragmenter = wire::Fragmenter::make(header, config_.mtu, next_id_++);
  if (!fragmenter) return;
  while (auto slice = fragmenter->next()) {
    send(slice->header(), payload.subspan(slice->payload_offset, slice->payload_size));
  }
}

void GuestSender::send_frame(ConstBytes frame) {
  if (!port_) {
    ++counters_.packets_no_guest;
    return;
  }
  std::size_t head = std::min(frame.size(), link::kMaxHead);
  ConstBytes rest = frame.subspan(head);
  iovec piece{const_cast<std::uint8_t*>(rest.data()), rest.size()};  // NOLINT: iovec reads
  link::RxFrame out{.head = frame.first(head),
                    .payload = {&piece, rest.empty() ? 0u : 1u},
                    .payload_size = rest.size()};
  if (port_->send(out, link::FrameClass::control) != link::SendResult::sent) {
    ++counters_.packets_refused;
  }
}

void GuestSender::send_udp(const Endpoint& source, const Endpoint& guest, ConstBytes payload) {
  std::array<std::uint8_t, 65535 + 40> packet;
  std::size_t size = wire::emit_udp(packet, source, guest, payload);
  if (size > 0) send_packet(ConstBytes(packet).first(size));
}

void GuestSender::on_resolved(const IpAddress& address, std::optional<MacAddress> mac) {
  std::deque<std::vector<std::uint8_t>> waiting;
  waiting.swap(waiting_);
  for (std::vector<std::uint8_t>& packet : waiting) {
    auto view = wire::Packet::parse(packet);
    if (view->destination() != address) {
      waiting_.push_back(std::move(packet));
    } else if (mac && port_) {
      send_to(*mac, packet);
    } else {
      ++counters_.packets_unresolved;
    }
  }
}

}  // namespace sluice::core
