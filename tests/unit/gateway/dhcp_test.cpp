#include <catch2/catch.hpp>

#include "guest_kit.h"
#include "wire/udp.h"

using namespace sluice;
using namespace sluice::test;
using wire::DhcpOption;
using wire::DhcpType;
using wire::DhcpView;

namespace {

const IpAddress kFirst = IpAddress::v4(192, 168, 127, 2);

DhcpView view(const std::vector<std::uint8_t>& payload) {
  auto parsed = DhcpView::parse(payload);
  REQUIRE(parsed.has_value());
  return *parsed;
}

MacAddress mac_number(unsigned number) {
  return MacAddress({0x52, 0x54, 1, 0, static_cast<std::uint8_t>(number >> 8),
                     static_cast<std::uint8_t>(number)});
}

}  // namespace

TEST_CASE("DISCOVER gets an OFFER of the first address with what no guest works without") {
  gateway::Config config;
  config.mtu = 65520;
  GuestKit kit(config);
  auto offer = dhcp(kit, {});
  auto reply = view(offer);
  CHECK(reply.type() == DhcpType::offer);
  CHECK(reply.transaction() == 0xabcd0001);
  CHECK(reply.your_address() == kFirst);
  CHECK(reply.client_mac() == kGuestMac);
  CHECK(reply.address(DhcpOption::subnet_mask) == ip("255.255.255.0"));
  CHECK(reply.address(DhcpOption::routers) == ip("192.168.127.1"));
  CHECK(reply.address(DhcpOption::dns_servers) == ip("192.168.127.1"));
  CHECK(reply.address(DhcpOption::server_id) == ip("192.168.127.1"));
  CHECK(reply.number16(DhcpOption::interface_mtu) == 65520);
  CHECK(reply.number32(DhcpOption::lease_seconds) == 86400);
  CHECK_FALSE(reply.has(DhcpOption::host_name));
}

TEST_CASE("libkrun's client gets an ACK to its one DISCOVER with options 53 and 80 alone") {
  GuestKit kit;
  auto ack = dhcp(kit, {.broadcast = true, .rapid_commit = true});
  auto reply = view(ack);
  CHECK(reply.type() == DhcpType::ack);
  CHECK(reply.has(DhcpOption::rapid_commit));
  CHECK(reply.your_address() == kFirst);
  CHECK(reply.has(DhcpOption::subnet_mask));
  CHECK(reply.has(DhcpOption::routers));
  CHECK(reply.has(DhcpOption::dns_servers));
  CHECK(reply.number16(DhcpOption::interface_mtu) == 1500);
  REQUIRE(kit.sent.size() == 1);
  CHECK(kit.sent[0].ethernet().destination() == MacAddress::broadcast());
  CHECK(kit.sent[0].packet().destination().is_limited_broadcast());
  CHECK(kit.sent[0].packet().source() == kit.config.gateway4);
  CHECK(kit.check(kFirst) == gateway::SourceCheck::allowed);
}

TEST_CASE("a DHCP reply goes by unicast where the client can take it") {
  GuestKit kit;
  dhcp(kit, {});
  CHECK(kit.sent[0].ethernet().destination() == kGuestMac);
  CHECK(kit.sent[0].packet().destination() == kFirst);
}

TEST_CASE("options 12, 15, 119 and 121 come on request") {
  gateway::Config config;
  config.guest_name = "box";
  config.domain = name("vm.internal");
  config.search = {name("vm.internal"), name("corp.example")};
  GuestKit kit(config);
  auto offer = dhcp(kit, {.wanted = {12, 15, 119, 121, 42}});
  auto reply = view(offer);
  CHECK(reply.text(DhcpOption::host_name) == "box");
  CHECK(reply.text(DhcpOption::domain_name) == "vm.internal");
  CHECK(reply.search_list() == config.search);
  REQUIRE(reply.routes().size() == 1);
  CHECK(reply.routes()[0].destination.length() == 0);
  CHECK(reply.routes()[0].router == config.gateway4);
  CHECK(reply.has(DhcpOption::routers));
}

TEST_CASE("a DHCP reply stays within 576 bytes whatever is configured and asked for") {
  gateway::Config config;
  config.guest_name = std::string(63, 'g');
  std::string label(60, 'd');
  config.domain = name(label + "." + label + "." + label + "." + label);
  for (int i = 0; i < 40; ++i) config.search.push_back(name(label + std::to_string(i) + ".test"));
  GuestKit kit(config);
  std::vector<std::uint8_t> all(254);
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<std::uint8_t>(i + 1);
  auto offer = dhcp(kit, {.wanted = all, .client_id = std::vector<std::uint8_t>(255, 9)});
  CHECK(kit.sent[0].packet().total_size() <= 576);
  auto reply = view(offer);
  CHECK(reply.has(DhcpOption::interface_mtu));
  CHECK(reply.option(DhcpOption::client_id)->size() == 255);
}

TEST_CASE("the client identifier comes back and does not make another lease") {
  GuestKit kit;
  auto first = dhcp(kit, {.rapid_commit = true, .client_id = {1, 2, 3}});
  auto second = dhcp(kit, {.rapid_commit = true, .client_id = {0xff, 9, 9, 9, 9}});
  CHECK(view(first).your_address() == view(second).your_address());
  CHECK(view(second).option(DhcpOption::client_id) == std::vector<std::uint8_t>{0xff, 9, 9, 9, 9});
  CHECK(kit.router.leases().size() == 1);
}

TEST_CASE("REQUEST for the offered address is acknowledged, for another one refused") {
  GuestKit kit;
  CHECK(get_lease(kit) == kFirst);
  auto nak = dhcp(
      kit,
      {.type = DhcpType::request, .requested = ip("192.168.127.1"), .server = kit.config.gateway4});
  CHECK(view(nak).type() == DhcpType::nak);
  CHECK(kit.sent[0].packet().destination().is_limited_broadcast());
}

TEST_CASE("a client from another network gets a NAK at once") {
  GuestKit kit;
  auto nak = dhcp(kit, {.type = DhcpType::request, .requested = ip("10.0.2.15")});
  CHECK(view(nak).type() == DhcpType::nak);
  nak = dhcp(kit, {.type = DhcpType::request, .client_address = ip("10.0.2.15")});
  CHECK(view(nak).type() == DhcpType::nak);
}

TEST_CASE("a client that comes back with a free address keeps it") {
  GuestKit kit;
  auto ack = dhcp(kit, {.type = DhcpType::request, .requested = ip("192.168.127.77")});
  CHECK(view(ack).type() == DhcpType::ack);
  CHECK(kit.check(ip("192.168.127.77")) == gateway::SourceCheck::allowed);
}

TEST_CASE("renewing sends the ACK to the client's address") {
  GuestKit kit;
  get_lease(kit);
  auto ack = dhcp(kit, {.type = DhcpType::request, .client_address = kFirst});
  CHECK(view(ack).type() == DhcpType::ack);
  CHECK(view(ack).client_address() == kFirst);
  CHECK(kit.sent[0].packet().destination() == kFirst);
}

TEST_CASE("a REQUEST for another server frees the offer") {
  gateway::Config config;
  config.guests = gateway::Guests::several;
  GuestKit kit(config);
  dhcp(kit, {});
  CHECK(dhcp(kit, {.type = DhcpType::request, .requested = kFirst, .server = ip("10.9.9.9")})
            .empty());
  CHECK(kit.check(kFirst, kGuestMac) == gateway::SourceCheck::allowed);
}

TEST_CASE("INFORM gets settings without an address or a lease time") {
  GuestKit kit;
  auto ack = dhcp(kit, {.type = DhcpType::inform, .client_address = kFirst});
  CHECK(view(ack).type() == DhcpType::ack);
  CHECK(view(ack).your_address().is_unspecified());
  CHECK_FALSE(view(ack).has(DhcpOption::lease_seconds));
  CHECK(view(ack).has(DhcpOption::dns_servers));
}

TEST_CASE("RELEASE and DECLINE get no reply, and a declined address rests") {
  GuestKit kit;
  get_lease(kit);
  CHECK(dhcp(kit, {.type = DhcpType::release, .client_address = kFirst}).empty());
  CHECK(kit.router.counters().dhcp_releases == 1);
  CHECK(get_lease(kit) == kFirst);
  CHECK(dhcp(kit, {.type = DhcpType::decline, .requested = kFirst}).empty());
  CHECK(get_lease(kit) == ip("192.168.127.3"));
  // Another guest's lease is not this one's to give back.
  get_lease(kit, kOtherMac);
  dhcp(kit, {.type = DhcpType::release, .client_address = ip("192.168.127.4")});
  dhcp(kit, {.type = DhcpType::decline, .requested = ip("192.168.127.4")});
  CHECK(kit.router.counters().dhcp_releases == 1);
  CHECK(kit.router.counters().dhcp_declines == 1);
  kit.advance(std::chrono::minutes(11));
  CHECK(view(dhcp(kit, {.mac = mac_number(7)})).your_address() == kFirst);
}

TEST_CASE("a full pool gives nothing more until a lease has run out") {
  gateway::Config config;
  config.subnet4 = IpPrefix(ip("10.1.1.0"), 29);
  config.gateway4 = ip("10.1.1.1");
  config.first_guest4 = ip("10.1.1.2");
  config.host_alias4 = ip("10.1.1.6");
  config.guests = gateway::Guests::several;
  GuestKit kit(config);
  for (unsigned i = 0; i < 4; ++i) {
    CHECK(get_lease(kit, mac_number(i)) == config.subnet4.at(2 + i));
  }
  CHECK_FALSE(get_lease(kit, mac_number(9)).has_value());
  CHECK(kit.router.counters().dhcp_exhausted == 1);
  CHECK(view(dhcp(kit,
                  {.type = DhcpType::request, .mac = mac_number(9), .requested = ip("10.1.1.2")}))
            .type() == DhcpType::nak);
  kit.advance(config.lease + std::chrono::seconds(1));
  get_lease(kit, mac_number(0));  // renewed: not the one to lose its address
  CHECK(get_lease(kit, mac_number(9)) == ip("10.1.1.3"));
}

TEST_CASE("a flood of MACs keeps the table bounded and the first guest's lease") {
  gateway::Config config;
  config.subnet4 = IpPrefix(ip("10.0.0.0"), 8);
  config.gateway4 = ip("10.0.0.1");
  config.first_guest4 = ip("10.0.0.2");
  config.host_alias4 = ip("10.0.0.254");
  GuestKit kit(config);
  CHECK(get_lease(kit) == ip("10.0.0.2"));
  for (unsigned i = 0; i < 1100; ++i) dhcp(kit, {.mac = mac_number(i), .rapid_commit = true});
  CHECK(kit.router.leases().size() <= gateway::LeaseTable::kMaxAddresses);
  CHECK(get_lease(kit) == ip("10.0.0.2"));
}

TEST_CASE("a static lease belongs to its MAC alone") {
  gateway::Config config;
  config.static_leases = {{kOtherMac, ip("192.168.127.2"), "db"},
                          {kOtherMac, ip("fd53:4c55:4943::99"), "db"}};
  GuestKit kit(config);
  CHECK(get_lease(kit) == ip("192.168.127.3"));
  auto offer = dhcp(kit, {.mac = kOtherMac, .wanted = {12}});
  CHECK(view(offer).your_address() == ip("192.168.127.2"));
  CHECK(view(offer).text(DhcpOption::host_name) == "db");
  CHECK(kit.check(ip("192.168.127.2")) == gateway::SourceCheck::not_permitted);
  CHECK(kit.check(ip("fd53:4c55:4943::99")) == gateway::SourceCheck::not_permitted);
}

TEST_CASE("the only guest gets the first address also after it came back with another MAC") {
  GuestKit kit;
  kit.router.link_up(kit.now);
  CHECK(get_lease(kit) == kFirst);
  kit.router.link_up(kit.now);
  CHECK(get_lease(kit, kOtherMac) == kFirst);
  CHECK(kit.check(kFirst, kGuestMac) == gateway::SourceCheck::not_permitted);
}

TEST_CASE("a lease survives a restart of the gateway") {
  MemoryStore store;
  {
    GuestKit kit({}, &store);
    dhcp(kit, {.type = DhcpType::request, .requested = ip("192.168.127.77"), .host_name = "Web-1"});
    CHECK(store.saves == 1);
  }
  GuestKit kit({}, &store);
  CHECK(kit.check(ip("192.168.127.77")) == gateway::SourceCheck::allowed);
  auto ack = dhcp(kit, {.type = DhcpType::request, .client_address = ip("192.168.127.77")});
  CHECK(view(ack).type() == DhcpType::ack);
  REQUIRE(kit.router.leases().size() == 1);
}

TEST_CASE("leases are saved at most once a second, and a save that fails is counted") {
  MemoryStore store;
  GuestKit kit({}, &store);
  for (unsigned i = 0; i < 100; ++i) dhcp(kit, {.mac = mac_number(i), .rapid_commit = true});
  CHECK(store.saves == 1);
  kit.advance(std::chrono::seconds(2));
  CHECK(store.saves == 2);
  CHECK(store.stored.size() == 100);
  store.broken = true;
  dhcp(kit, {.mac = mac_number(200), .rapid_commit = true});
  CHECK(kit.router.counters().lease_saves_failed == 1);
}

TEST_CASE("what a rogue DHCP server in the guest says is ignored") {
  GuestKit kit;
  wire::DhcpBuilder builder({.op = wire::DhcpHeader::Op::reply,
                             .your_address = ip("192.168.127.1"),
                             .client_mac = kGuestMac,
                             .type = DhcpType::ack});
  CHECK(kit.udp({kFirst, wire::kDhcpServerPort},
                {IpAddress::v4(0xffffffffu), wire::kDhcpServerPort}, builder.finish()));
  CHECK(kit.sent.empty());
  CHECK(kit.router.counters().dhcp_ignored == 1);
}

TEST_CASE("a message for other hardware than the frame's source is ignored") {
  GuestKit kit;
  auto message = dhcp_message({.mac = kOtherMac});
  CHECK(kit.udp({IpAddress(), wire::kDhcpClientPort},
                {IpAddress::v4(0xffffffffu), wire::kDhcpServerPort}, message, kGuestMac));
  CHECK(kit.sent.empty());
  CHECK(kit.router.counters().dhcp_ignored == 1);
}

TEST_CASE("a relay address changes nothing about where the reply goes") {
  GuestKit kit;
  auto message = dhcp_message({});
  store_be32(&message[24], 0x08080808);
  CHECK(kit.udp({IpAddress(), wire::kDhcpClientPort},
                {IpAddress::v4(0xffffffffu), wire::kDhcpServerPort}, message));
  REQUIRE(kit.sent.size() == 1);
  CHECK(kit.sent[0].packet().destination() == kFirst);
}

TEST_CASE("every cut of a DHCP message is survived") {
  GuestKit kit;
  auto message = dhcp_message({.rapid_commit = true, .wanted = {1, 3, 6}, .client_id = {1, 2}});
  for (std::size_t size = 0; size < message.size(); ++size) {
    kit.udp({IpAddress(), wire::kDhcpClientPort},
            {IpAddress::v4(0xffffffffu), wire::kDhcpServerPort}, ConstBytes(message).first(size));
  }
  CHECK(kit.router.counters().dhcp_malformed > 200);
}

TEST_CASE("a datagram with a wrong checksum is dropped unless the attachment vouches for it") {
  GuestKit kit;
  std::vector<std::uint8_t> bytes(1500);
  wire::EthernetHeader{MacAddress::broadcast(), kGuestMac, wire::EtherType::ipv4}.emit(bytes);
  std::size_t size = wire::emit_udp(Bytes(bytes).subspan(14), {IpAddress(), Port(68)},
                                    {IpAddress::v4(0xffffffffu), Port(67)}, dhcp_message({}));
  bytes.resize(14 + size);
  bytes[14 + 20 + 6] ^= 0xff;
  CHECK(kit.router.handle(bytes, kit.now));
  CHECK(kit.sent.empty());
  CHECK(kit.router.handle(bytes, kit.now, gateway::Checksums::trusted));
  CHECK(kit.sent.size() == 1);
}
