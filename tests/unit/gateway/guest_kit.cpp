#include "guest_kit.h"

#include <catch2/catch.hpp>

#include "wire/icmp.h"
#include "wire/ndp.h"
#include "wire/udp.h"

namespace sluice::test {

using wire::DhcpOption;

IpAddress ip(std::string_view text) {
  auto address = IpAddress::parse(text);
  REQUIRE(address.is_ok());
  return *address;
}

DomainName name(std::string_view text) {
  auto parsed = DomainName::parse(text);
  REQUIRE(parsed.is_ok());
  return *parsed;
}

Status MemoryStore::save(const std::vector<gateway::StoredLease>& leases) {
  ++saves;
  if (broken) return Status(StatusCode::permission_denied, "no space");
  stored = leases;
  return Status::ok();
}

wire::Packet SentFrame::packet() const {
  auto parsed = wire::Packet::parse(ethernet().payload());
  REQUIRE(parsed.has_value());
  REQUIRE(parsed->header_checksum_ok());
  return *parsed;
}

ConstBytes SentFrame::udp_payload() const {
  auto parsed = packet();
  REQUIRE(parsed.protocol() == wire::IpProtocol::udp);
  auto udp = wire::UdpView::parse(parsed.payload());
  REQUIRE(udp.has_value());
  REQUIRE(udp->checksum_ok(parsed.source(), parsed.destination()));
  return udp->payload();
}

GuestKit::GuestKit(gateway::Config settings, gateway::LeaseStore* store)
    : config(std::move(settings)),
      router(
          config, HashKey{{1, 2}},
          [this](ConstBytes frame) { sent.push_back({{frame.begin(), frame.end()}}); }, store,
          now) {}

std::vector<SentFrame> GuestKit::take() {
  return std::exchange(sent, {});
}

void GuestKit::advance(Duration duration) {
  TimePoint end = now + duration;
  while (router.next_due() <= end) {
    TimePoint due = router.next_due();
    now = std::max(now, due);
    router.tick(now);
    REQUIRE(router.next_due() > due);
  }
  now = end;
}

bool GuestKit::arp(const wire::ArpPacket& packet, const MacAddress& from, const MacAddress& to) {
  std::vector<std::uint8_t> bytes(60);
  wire::EthernetHeader{to, from, wire::EtherType::arp}.emit(bytes);
  packet.emit(Bytes(bytes).subspan(wire::kEthernetHeaderSize));
  return frame(bytes);
}

bool GuestKit::udp(const Endpoint& source, const Endpoint& destination, ConstBytes payload,
                   const MacAddress& from) {
  std::vector<std::uint8_t> bytes(wire::kEthernetHeaderSize + 48 + payload.size());
  bool v4 = source.address.is_v4();
  wire::EthernetHeader{v4 ? config.mac : wire::multicast_mac(wire::all_dhcp_servers()), from,
                       v4 ? wire::EtherType::ipv4 : wire::EtherType::ipv6}
      .emit(bytes);
  std::size_t size =
      wire::emit_udp(Bytes(bytes).subspan(wire::kEthernetHeaderSize), source, destination, payload);
  REQUIRE(size > 0);
  return frame(ConstBytes(bytes).first(wire::kEthernetHeaderSize + size));
}

bool GuestKit::icmpv6(const IpAddress& source, const IpAddress& destination, ConstBytes message,
                      std::uint8_t hop_limit, const MacAddress& from) {
  std::vector<std::uint8_t> bytes(wire::kEthernetHeaderSize + 40);
  MacAddress to = destination.is_multicast() ? wire::multicast_mac(destination) : config.mac;
  wire::EthernetHeader{to, from, wire::EtherType::ipv6}.emit(bytes);
  wire::IpHeader header;
  header.source = source;
  header.destination = destination;
  header.protocol = wire::IpProtocol::icmpv6;
  header.ttl = hop_limit;
  header.payload_size = message.size();
  REQUIRE(header.emit(Bytes(bytes).subspan(wire::kEthernetHeaderSize)) == 40);
  bytes.insert(bytes.end(), message.begin(), message.end());
  return frame(bytes);
}

void GuestKit::send_echo(const IpAddress& source, const IpAddress& destination, std::size_t size,
                         const MacAddress& from) {
  std::vector<std::uint8_t> data(size);
  for (std::size_t i = 0; i < size; ++i) data[i] = static_cast<std::uint8_t>(i * 7);
  wire::IcmpEcho echo{wire::EchoKind::request, 77, 3, data};
  wire::IpHeader header;
  header.source = source;
  header.destination = destination;
  header.protocol = source.is_v4() ? wire::IpProtocol::icmp : wire::IpProtocol::icmpv6;
  header.payload_size = echo.size();
  std::vector<std::uint8_t> bytes(wire::kEthernetHeaderSize + header.size() + echo.size());
  wire::EthernetHeader{config.mac, from,
                       source.is_v4() ? wire::EtherType::ipv4 : wire::EtherType::ipv6}
      .emit(bytes);
  std::size_t at = wire::kEthernetHeaderSize;
  at += header.emit(Bytes(bytes).subspan(at));
  REQUIRE(echo.emit(Bytes(bytes).subspan(at), source, destination) == echo.size());
  frame(bytes);
}

std::optional<std::vector<std::uint8_t>> GuestKit::ping(const IpAddress& source,
                                                        const IpAddress& destination,
                                                        std::size_t size, const MacAddress& from) {
  sent.clear();
  send_echo(source, destination, size, from);
  auto frames = take();
  if (frames.empty()) return std::nullopt;
  auto packet = frames.front().packet();
  auto reply = wire::IcmpView::parse(packet.family(), packet.payload());
  REQUIRE(reply.has_value());
  REQUIRE(reply->is_echo_reply());
  REQUIRE(reply->checksum_ok(packet.source(), packet.destination()));
  REQUIRE(packet.source() == destination);
  REQUIRE(packet.destination() == source);
  REQUIRE(reply->identifier() == 77);
  REQUIRE(reply->sequence() == 3);
  return std::vector<std::uint8_t>(reply->payload().begin(), reply->payload().end());
}

std::vector<std::uint8_t> dhcp_message(const DhcpAsk& ask) {
  wire::DhcpBuilder builder({.op = wire::DhcpHeader::Op::request,
                             .transaction = 0xabcd0001,
                             .broadcast = ask.broadcast,
                             .client_address = ask.client_address,
                             .client_mac = ask.mac,
                             .type = ask.type},
                            1400);
  if (ask.rapid_commit) builder.add(DhcpOption::rapid_commit, ConstBytes());
  if (ask.requested) builder.add(DhcpOption::requested_address, *ask.requested);
  if (ask.server) builder.add(DhcpOption::server_id, *ask.server);
  if (!ask.wanted.empty()) builder.add(DhcpOption::parameter_list, ask.wanted);
  if (!ask.client_id.empty()) builder.add(DhcpOption::client_id, ask.client_id);
  if (!ask.host_name.empty()) builder.add(DhcpOption::host_name, ask.host_name);
  return builder.finish();
}

std::vector<std::uint8_t> dhcp(GuestKit& kit, const DhcpAsk& ask) {
  kit.sent.clear();
  bool unicast = !ask.client_address.is_unspecified();
  REQUIRE(
      kit.udp({ask.client_address, wire::kDhcpClientPort},
              {unicast ? kit.config.gateway4 : IpAddress::v4(0xffffffffu), wire::kDhcpServerPort},
              dhcp_message(ask), ask.mac));
  if (kit.sent.empty()) return {};
  REQUIRE(kit.sent.size() == 1);
  auto payload = kit.sent.front().udp_payload();
  return {payload.begin(), payload.end()};
}

std::optional<IpAddress> get_lease(GuestKit& kit, const MacAddress& mac) {
  auto offer = dhcp(kit, {.mac = mac});
  auto view = wire::DhcpView::parse(offer);
  if (!view) return std::nullopt;
  IpAddress address = view->your_address();
  auto ack = dhcp(kit, {.type = wire::DhcpType::request,
                        .mac = mac,
                        .requested = address,
                        .server = kit.config.gateway4});
  view = wire::DhcpView::parse(ack);
  if (!view || view->type() != wire::DhcpType::ack) return std::nullopt;
  return view->your_address();
}

std::vector<std::uint8_t> dhcpv6(GuestKit& kit, const Dhcpv6Ask& ask) {
  wire::Dhcpv6Builder builder(ask.type, 0x123456);
  if (!ask.client_id.empty()) builder.add(wire::Dhcpv6OptionCode::client_id, ask.client_id);
  if (!ask.server_id.empty()) builder.add(wire::Dhcpv6OptionCode::server_id, ask.server_id);
  if (ask.rapid_commit) builder.add(wire::Dhcpv6OptionCode::rapid_commit, ConstBytes());
  builder.add_option_request(
      {wire::Dhcpv6OptionCode::dns_servers, wire::Dhcpv6OptionCode::domain_list});
  for (const auto& association : ask.associations) builder.add_association(association);
  if (ask.wants_prefix) builder.add_prefix_refusal(9, wire::Dhcpv6Status::success);
  kit.sent.clear();
  REQUIRE(kit.udp({wire::link_local_from(ask.mac), wire::kDhcpv6ClientPort},
                  {wire::all_dhcp_servers(), wire::kDhcpv6ServerPort}, builder.finish(), ask.mac));
  if (kit.sent.empty()) return {};
  auto payload = kit.sent.front().udp_payload();
  return {payload.begin(), payload.end()};
}

}  // namespace sluice::test
