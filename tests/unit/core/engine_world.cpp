#include "core/engine_world.h"

#include <catch2/catch.hpp>

#include "base/owned_bytes.h"
#include "wire/arp.h"
#include "wire/ethernet.h"
#include "wire/icmp.h"
#include "wire/udp.h"

namespace sluice::test {

link::SendResult ScriptedNic::send(const link::RxFrame& frame, link::FrameClass) {
  if (full) {
    ++counters_.rx_refused;
    return link::SendResult::full;
  }
  std::vector<std::uint8_t> bytes(frame.head.begin(), frame.head.end());
  for (const iovec& piece : frame.payload) {
    const auto* begin = static_cast<const std::uint8_t*>(piece.iov_base);
    bytes.insert(bytes.end(), begin, begin + piece.iov_len);
  }
  // Where this is timed, an assertion that holds would count.
  if (bytes.size() != frame.head.size() + frame.payload_size) FAIL("a frame of another size");
  ++counters_.rx_frames;
  frames.push_back(std::move(bytes));
  if (frame.release) frame.release(frame.owner);
  return link::SendResult::sent;
}

void ScriptedNic::give(std::vector<std::uint8_t> frame) {
  give(std::vector<std::vector<std::uint8_t>>{std::move(frame)});
}

void ScriptedNic::give(std::vector<std::vector<std::uint8_t>> batch) {
  std::vector<link::TxFrame> read;
  for (auto& frame : batch) {
    auto owned = std::make_unique<OwnedBytes>(std::move(frame));
    BufferRef buffer(owned.get());
    read.push_back({.bytes = owned->bytes, .buffer = buffer});
    static_cast<void>(owned.release());  // the reference owns it now
  }
  counters_.tx_frames += read.size();
  handler_->on_frames(read);
}

EngineWorld::EngineWorld(NetworkConfig config) {
  config.on_denied = [this](const DenialEvent& event) { denied.push_back(event); };
  if (config.dns_upstreams.empty()) config.dns_upstreams = {endpoint("192.0.2.53:53")};
  auto made = core::Engine::create(loop, net, std::move(config));
  INFO(made.status().message());
  REQUIRE(made);
  engine = std::move(*made);
  attach();
}

EngineWorld::~EngineWorld() {
  engine.reset();
}

RuleText EngineWorld::rule(std::string_view text) {
  return {.text = std::string(text), .where = "--rule", .shorthand = {}};
}

NetworkConfig EngineWorld::with_rules(std::string_view rules) {
  NetworkConfig config;
  config.policy.rules = {rule(rules)};
  config.policy.profile = "none";
  return config;
}

void EngineWorld::attach() {
  REQUIRE(engine->attach(std::make_unique<ScriptedNic>(&nic)));
  nic->set_link(true);
  settle();
  // The gateway asks for nobody whom it has heard of.
  wire::ArpPacket arp;
  arp.operation = wire::ArpOperation::request;
  arp.sender_mac = kGuestMac;
  arp.sender_ip = guest;
  arp.target_ip = engine->config().gateway4;
  std::vector<std::uint8_t> frame(60);
  wire::EthernetHeader{MacAddress::broadcast(), kGuestMac, wire::EtherType::arp}.emit(frame);
  arp.emit(Bytes(frame).subspan(wire::kEthernetHeaderSize));
  nic->give(std::move(frame));
  settle();
  nic->frames.clear();
}

void EngineWorld::settle() {
  loop.run_ready();
}

void EngineWorld::pass(Duration time) {
  loop.advance(time);
}

std::vector<std::uint8_t> EngineWorld::ip_frame(const wire::IpHeader& header,
                                                ConstBytes payload) const {
  std::vector<std::uint8_t> frame(wire::kEthernetHeaderSize + header.size());
  auto type = header.source.is_v4() ? wire::EtherType::ipv4 : wire::EtherType::ipv6;
  wire::EthernetHeader{engine->config().mac, kGuestMac, type}.emit(frame);
  wire::IpHeader whole = header;
  whole.payload_size = payload.size();
  whole.emit(Bytes(frame).subspan(wire::kEthernetHeaderSize));
  frame.insert(frame.end(), payload.begin(), payload.end());
  return frame;
}

std::vector<std::uint8_t> EngineWorld::udp_frame(const Endpoint& from, const Endpoint& to,
                                                 std::string_view payload) const {
  std::vector<std::uint8_t> packet(65535);
  std::size_t size = wire::emit_udp(
      packet, from, to, {reinterpret_cast<const std::uint8_t*>(payload.data()), payload.size()});
  auto view = wire::Packet::parse(ConstBytes(packet).first(size));
  REQUIRE(view);
  wire::IpHeader header;
  header.source = from.address;
  header.destination = to.address;
  header.protocol = wire::IpProtocol::udp;
  return ip_frame(header, view->payload());
}

std::vector<std::uint8_t> EngineWorld::tcp_frame(const Endpoint& from, const Endpoint& to,
                                                 std::uint8_t flags, std::uint32_t sequence,
                                                 std::uint32_t acknowledgment) const {
  wire::TcpHeader tcp;
  tcp.source_port = from.port;
  tcp.destination_port = to.port;
  tcp.sequence = sequence;
  tcp.acknowledgment = acknowledgment;
  tcp.flags = {flags};
  tcp.window = 65535;
  std::vector<std::uint8_t> segment(tcp.size());
  tcp.emit(segment,
           wire::pseudo_header(from.address, to.address, wire::IpProtocol::tcp, segment.size()));
  wire::IpHeader header;
  header.source = from.address;
  header.destination = to.address;
  header.protocol = wire::IpProtocol::tcp;
  return ip_frame(header, segment);
}

void EngineWorld::send_ip(const wire::IpHeader& header, ConstBytes payload) {
  nic->give(ip_frame(header, payload));
  settle();
}

void EngineWorld::send_udp(const Endpoint& from, const Endpoint& to, std::string_view payload) {
  nic->give(udp_frame(from, to, payload));
  settle();
}

void EngineWorld::send_tcp(const Endpoint& from, const Endpoint& to, std::uint8_t flags,
                           std::uint32_t sequence, std::uint32_t acknowledgment) {
  nic->give(tcp_frame(from, to, flags, sequence, acknowledgment));
  settle();
}

std::vector<std::vector<std::uint8_t>> EngineWorld::packets() {
  std::vector<std::vector<std::uint8_t>> out;
  for (auto& frame : std::exchange(nic->frames, {})) {
    auto ethernet = wire::EthernetView::parse(frame);
    REQUIRE(ethernet);
    if (ethernet->type() == wire::EtherType::arp) continue;
    std::vector<std::uint8_t> bytes(frame.begin() + wire::kEthernetHeaderSize, frame.end());
    auto packet = wire::Packet::parse(bytes);
    REQUIRE(packet);
    CHECK(ethernet->destination() ==
          (packet->destination().is_multicast() ? ethernet->destination() : kGuestMac));
    CHECK(packet->header_checksum_ok());
    if (packet->protocol() == wire::IpProtocol::icmpv6) continue;
    out.push_back(std::move(bytes));
  }
  return out;
}

std::optional<SeenDatagram> EngineWorld::datagram() {
  stack::Reassembler reassembler(HashKey::random());
  SeenDatagram out;
  for (const auto& bytes : packets()) {
    auto packet = wire::Packet::parse(bytes);
    ++out.frames;
    CHECK(bytes.size() <= engine->config().mtu);
    std::vector<std::uint8_t> storage;
    if (packet->is_fragment()) {
      auto whole = reassembler.add(*packet, loop.now());
      if (!whole) continue;
      storage.assign(whole->packet.bytes().begin(), whole->packet.bytes().end());
      packet = wire::Packet::parse(storage);
    }
    auto udp = wire::UdpView::parse(packet->payload());
    REQUIRE(udp);
    CHECK(udp->checksum_ok(packet->source(), packet->destination()));
    out.source = {packet->source(), udp->source_port()};
    out.destination = {packet->destination(), udp->destination_port()};
    out.payload.assign(udp->payload().begin(), udp->payload().end());
    return out;
  }
  return std::nullopt;
}

std::vector<EngineWorld::Segment> EngineWorld::segments() {
  std::vector<Segment> out;
  for (const auto& bytes : packets()) {
    auto packet = wire::Packet::parse(bytes);
    if (packet->protocol() != wire::IpProtocol::tcp) continue;
    auto segment = wire::TcpView::parse(packet->payload());
    REQUIRE(segment);
    out.push_back({segment->flags(), segment->sequence()});
  }
  return out;
}

std::uint64_t EngineWorld::drops(std::string_view cause) const {
  for (const auto& [name, count] : engine->counters().drops) {
    if (name == cause) return count;
  }
  return 0;
}

}  // namespace sluice::test
