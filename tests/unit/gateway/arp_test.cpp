#include <catch2/catch.hpp>

#include "guest_kit.h"

using namespace sluice;
using namespace sluice::test;
using wire::ArpOperation;
using wire::ArpPacket;

namespace {

const IpAddress kGateway = IpAddress::v4(192, 168, 127, 1);
const IpAddress kGuest = IpAddress::v4(192, 168, 127, 2);
const IpAddress kAlias = IpAddress::v4(192, 168, 127, 254);

ArpPacket request(const IpAddress& sender, const IpAddress& target) {
  return {.operation = ArpOperation::request,
          .sender_mac = kGuestMac,
          .sender_ip = sender,
          .target_ip = target};
}

}  // namespace

TEST_CASE("ARP is answered for the gateway and the host alias, and for nobody else") {
  GuestKit kit;
  for (const IpAddress& target : {kGateway, kAlias}) {
    CHECK(kit.arp(request(kGuest, target)));
    auto frames = kit.take();
    REQUIRE(frames.size() == 1);
    auto reply = ArpPacket::parse(frames[0].ethernet().payload());
    REQUIRE(reply.has_value());
    CHECK(reply->operation == ArpOperation::reply);
    CHECK(reply->sender_ip == target);
    CHECK(reply->sender_mac == kit.config.mac);
    CHECK(reply->target_mac == kGuestMac);
    CHECK(reply->target_ip == kGuest);
    CHECK(frames[0].ethernet().destination() == kGuestMac);
  }
  for (const char* target : {"192.168.127.2", "192.168.127.3", "192.168.127.255", "8.8.8.8"}) {
    CHECK(kit.arp(request(kGuest, ip(target))));
    CHECK(kit.take().empty());
  }
}

TEST_CASE("a probe for the gateway's address is told that it is taken") {
  GuestKit kit;
  kit.arp(request(IpAddress(), kGateway));
  CHECK(kit.take().size() == 1);
  kit.arp(request(IpAddress(), kGuest));
  CHECK(kit.take().empty());
}

TEST_CASE("a guest that claims the gateway's address changes nothing") {
  GuestKit kit;
  kit.arp(request(kGateway, kGateway));
  kit.arp({.operation = ArpOperation::reply,
           .sender_mac = kGuestMac,
           .sender_ip = kGateway,
           .target_mac = kit.config.mac,
           .target_ip = kGateway});
  kit.arp(request(kAlias, kGuest));
  CHECK(kit.router.counters().gateway_claimed == 3);
  CHECK_FALSE(kit.router.mac_of(kGateway).has_value());
  kit.take();
  kit.arp(request(kGuest, kGateway));
  auto frames = kit.take();
  REQUIRE(frames.size() == 1);
  CHECK(ArpPacket::parse(frames[0].ethernet().payload())->sender_mac == kit.config.mac);
}

TEST_CASE("a guest is learnt from its ARP, another's address is not") {
  GuestKit kit;
  CHECK_FALSE(kit.router.mac_of(kGuest).has_value());
  kit.arp(request(kGuest, kGateway));
  CHECK(kit.router.mac_of(kGuest) == kGuestMac);
  kit.arp(request(ip("192.168.127.9"), kGateway));
  CHECK(kit.router.counters().claims_refused == 1);
  CHECK_FALSE(kit.router.mac_of(ip("192.168.127.9")).has_value());
}

TEST_CASE("ARP with wrong sizes, or a sender that is not the frame's, is dropped") {
  GuestKit kit;
  auto forged = request(kGuest, kGateway);
  forged.sender_mac = kOtherMac;
  CHECK(kit.arp(forged));
  std::vector<std::uint8_t> good(42);
  wire::EthernetHeader{MacAddress::broadcast(), kGuestMac, wire::EtherType::arp}.emit(good);
  request(kGuest, kGateway).emit(Bytes(good).subspan(14));
  for (std::size_t at : {14, 15, 16, 18, 19, 20}) {
    auto bad = good;
    bad[at] ^= 0x12;
    CHECK(kit.frame(bad));
  }
  for (std::size_t size = 14; size < good.size(); ++size) kit.frame(ConstBytes(good).first(size));
  CHECK(kit.take().empty());
  CHECK(kit.router.counters().arp_malformed == 1 + 6 + 28);
}

TEST_CASE("frames from impossible sources are dropped, those for others left alone") {
  GuestKit kit;
  auto packet = request(kGuest, kGateway);
  CHECK(kit.arp(packet, MacAddress()));
  CHECK(kit.arp(packet, MacAddress::broadcast()));
  CHECK(kit.arp(packet, kit.config.mac));
  CHECK(kit.router.counters().spoofed_mac == 3);
  CHECK(kit.take().empty());
  CHECK_FALSE(kit.arp(packet, kGuestMac, kOtherMac));
  std::vector<std::uint8_t> vlan(60);
  wire::EthernetHeader{kit.config.mac, kGuestMac, static_cast<wire::EtherType>(0x8100)}.emit(vlan);
  CHECK_FALSE(kit.frame(vlan));
  for (std::size_t size = 0; size < 14; ++size)
    CHECK_FALSE(kit.frame(ConstBytes(vlan).first(size)));
}
