#include <catch2/catch.hpp>

#include "guest_kit.h"
#include "wire/ndp.h"

using namespace sluice;
using namespace sluice::test;
using namespace std::chrono_literals;

namespace {

struct Outcome {
  std::vector<std::pair<IpAddress, std::optional<MacAddress>>> calls;

  void watch(GuestKit& kit) {
    kit.router.set_resolved_handler(
        [this](const IpAddress& address, std::optional<MacAddress> mac) {
          calls.emplace_back(address, mac);
        });
  }
};

}  // namespace

TEST_CASE("a guest is asked for by ARP, and its answer ends the search") {
  GuestKit kit;
  Outcome outcome;
  outcome.watch(kit);
  auto guest = ip("192.168.127.2");
  CHECK(kit.router.resolve(guest, kit.now));
  CHECK(kit.router.resolve(guest, kit.now));
  auto frames = kit.take();
  REQUIRE(frames.size() == 1);
  auto request = wire::ArpPacket::parse(frames[0].ethernet().payload());
  REQUIRE(request.has_value());
  CHECK(request->target_ip == guest);
  CHECK(request->sender_ip == kit.config.gateway4);
  CHECK(frames[0].ethernet().destination() == MacAddress::broadcast());
  kit.arp({.operation = wire::ArpOperation::reply,
           .sender_mac = kGuestMac,
           .sender_ip = guest,
           .target_mac = kit.config.mac,
           .target_ip = kit.config.gateway4});
  REQUIRE(outcome.calls.size() == 1);
  CHECK(outcome.calls[0].second == kGuestMac);
  kit.advance(1min);
  CHECK(outcome.calls.size() == 1);
}

TEST_CASE("an IPv6 guest is asked for by neighbour solicitation") {
  GuestKit kit;
  Outcome outcome;
  outcome.watch(kit);
  auto guest = ip("fd53:4c55:4943::2");
  CHECK(kit.router.resolve(guest, kit.now));
  auto frames = kit.take();
  REQUIRE(frames.size() == 1);
  auto solicit = wire::NdpView::parse(frames[0].packet());
  REQUIRE(solicit.has_value());
  CHECK(solicit->target() == guest);
  CHECK(solicit->destination() == wire::solicited_node(guest));
  wire::NeighborAdvert advert;
  advert.target = guest;
  advert.target_mac = kGuestMac;
  advert.solicited = true;
  kit.ndp(guest, kit.config.gateway6, advert);
  REQUIRE(outcome.calls.size() == 1);
  CHECK(outcome.calls[0].second == kGuestMac);
}

TEST_CASE("a guest that does not answer three times is reported missing") {
  GuestKit kit;
  Outcome outcome;
  outcome.watch(kit);
  kit.router.resolve(ip("192.168.127.2"), kit.now);
  kit.advance(2900ms);
  CHECK(kit.take().size() == 3);
  CHECK(outcome.calls.empty());
  kit.advance(100ms);
  REQUIRE(outcome.calls.size() == 1);
  CHECK_FALSE(outcome.calls[0].second.has_value());
  CHECK(kit.router.counters().resolves_failed == 1);
}

TEST_CASE("any packet of the guest ends the search too") {
  GuestKit kit;
  Outcome outcome;
  outcome.watch(kit);
  kit.router.resolve(ip("192.168.127.2"), kit.now);
  kit.check(ip("192.168.127.2"));
  CHECK(outcome.calls.size() == 1);
}

TEST_CASE("an address behind the guest is looked for at the guest") {
  gateway::Config config;
  config.routed = {IpPrefix(ip("10.88.0.0"), 16)};
  GuestKit kit(config);
  Outcome outcome;
  outcome.watch(kit);
  CHECK(kit.router.resolve(ip("10.88.0.9"), kit.now));
  CHECK(wire::ArpPacket::parse(kit.take()[0].ethernet().payload())->target_ip ==
        config.first_guest4);
  kit.check(config.first_guest4);
  REQUIRE(outcome.calls.size() == 1);
  CHECK(outcome.calls[0].first == ip("10.88.0.9"));
  CHECK(outcome.calls[0].second == kGuestMac);
}

TEST_CASE("nobody is asked for an address no guest can have, nor for too many at once") {
  GuestKit kit;
  CHECK_FALSE(kit.router.resolve(ip("8.8.8.8"), kit.now));
  CHECK_FALSE(kit.router.resolve(kit.config.gateway4, kit.now));
  for (std::uint32_t i = 0; i < 64; ++i) {
    CHECK(kit.router.resolve(kit.config.subnet4.at(10 + i), kit.now));
  }
  CHECK_FALSE(kit.router.resolve(kit.config.subnet4.at(100), kit.now));
}
