#include "wire/ndp.h"

#include <catch2/catch.hpp>

#include "guest_kit.h"

using namespace sluice;
using namespace sluice::test;
using wire::NdpType;
using wire::NdpView;
using namespace std::chrono_literals;

namespace {

const IpAddress kLinkLocal = wire::link_local_from(kGuestMac);

NdpView parse(const SentFrame& frame) {
  auto view = NdpView::parse(frame.packet());
  REQUIRE(view.has_value());
  REQUIRE(view->hop_limit_ok());
  return *view;
}

std::vector<NdpView> adverts(const std::vector<SentFrame>& frames) {
  std::vector<NdpView> found;
  for (const SentFrame& frame : frames) {
    auto view = NdpView::parse(frame.packet());
    if (view && view->type() == NdpType::router_advert) found.push_back(*view);
  }
  return found;
}

}  // namespace

TEST_CASE("a router solicitation gets an advertisement with prefix, MTU, DNS and search list") {
  gateway::Config config;
  config.domain = name("vm.internal");
  config.mtu = 65520;
  GuestKit kit(config);
  CHECK(kit.ndp(kLinkLocal, wire::all_routers(), wire::RouterSolicit{kGuestMac}));
  auto frames = kit.take();
  REQUIRE(frames.size() == 1);
  CHECK(frames[0].ethernet().destination() == kGuestMac);
  auto advert = parse(frames[0]);
  CHECK(advert.type() == NdpType::router_advert);
  CHECK(advert.destination() == kLinkLocal);
  CHECK(advert.source() == wire::link_local_from(config.mac));
  CHECK(advert.mtu() == 65520u);
  CHECK(advert.is_managed());
  CHECK(advert.is_other_config());
  CHECK(advert.source_link_address() == config.mac);
  bool prefix = false, dns = false, search = false;
  auto options = advert.options();
  while (auto option = options.next()) {
    if (auto info = wire::NdpPrefix::parse(*option)) {
      prefix = info->prefix == config.prefix6 && info->on_link && info->autonomous;
    }
    if (option->type == wire::NdpOptionType::rdnss) {
      dns = IpAddress::from_bytes(option->body.subspan(6, 16)) == config.gateway6;
    }
    if (option->type == wire::NdpOptionType::dnssl) search = true;
  }
  CHECK(prefix);
  CHECK(dns);
  CHECK(search);
}

TEST_CASE("a solicitation from the unspecified address is answered to the asker alone") {
  GuestKit kit;
  CHECK(kit.ndp(ip("::"), wire::all_routers(), wire::RouterSolicit{}));
  auto frames = kit.take();
  REQUIRE(frames.size() == 1);
  CHECK(frames[0].ethernet().destination() == kGuestMac);
  CHECK(frames[0].packet().destination() == wire::all_nodes());
}

TEST_CASE("the router is no default router where the host has no IPv6 default route") {
  GuestKit kit;
  kit.ndp(kLinkLocal, wire::all_routers(), wire::RouterSolicit{kGuestMac});
  CHECK(parse(kit.take()[0]).router_lifetime_seconds() == 0);
  kit.router.set_ipv6_default_route(gateway::DefaultRoute::present, kit.now);
  auto frames = kit.take();
  REQUIRE(frames.size() == 1);
  CHECK(parse(frames[0]).router_lifetime_seconds() == 1800);
  CHECK(frames[0].ethernet().destination() == wire::multicast_mac(wire::all_nodes()));
  kit.router.set_ipv6_default_route(gateway::DefaultRoute::present, kit.now);
  CHECK(kit.take().empty());
  kit.router.set_ipv6_default_route(gateway::DefaultRoute::absent, kit.now);
  CHECK(parse(kit.take()[0]).router_lifetime_seconds() == 0);
}

TEST_CASE("advertisements come at link up, twice soon after, then every 200 to 600 seconds") {
  GuestKit kit;
  kit.advance(1h);
  CHECK(kit.take().empty());
  kit.router.link_up(kit.now);
  CHECK(adverts(kit.take()).size() == 1);
  kit.advance(32s);
  CHECK(adverts(kit.take()).size() == 2);
  kit.advance(199s);
  CHECK(adverts(kit.take()).empty());
  kit.advance(401s);
  CHECK(adverts(kit.take()).size() >= 1);
  kit.take();
  kit.advance(10h);
  auto count = adverts(kit.take()).size();
  CHECK(count >= 60);
  CHECK(count <= 180);
}

TEST_CASE("a neighbour solicitation for the router's addresses is answered") {
  GuestKit kit;
  for (const IpAddress& target :
       {kit.config.gateway6, *kit.config.host_alias6, wire::link_local_from(kit.config.mac)}) {
    CHECK(kit.ndp(kLinkLocal, wire::solicited_node(target),
                  wire::NeighborSolicit{target, kGuestMac}));
    auto frames = kit.take();
    REQUIRE(frames.size() == 1);
    auto advert = parse(frames[0]);
    CHECK(advert.type() == NdpType::neighbor_advert);
    CHECK(advert.target() == target);
    CHECK(advert.target_link_address() == kit.config.mac);
    CHECK(advert.is_solicited());
    CHECK(advert.is_from_router());
    CHECK(advert.destination() == kLinkLocal);
  }
  CHECK(kit.router.mac_of(kLinkLocal) == kGuestMac);
}

TEST_CASE("duplicate address detection succeeds for a guest's address and fails for the router's") {
  GuestKit kit;
  auto own = ip("fd53:4c55:4943::5054:1");
  kit.ndp(ip("::"), wire::solicited_node(own), wire::NeighborSolicit{own, std::nullopt});
  CHECK(kit.take().empty());
  CHECK(kit.router.mac_of(own) == kGuestMac);
  auto taken = kit.config.gateway6;
  kit.ndp(ip("::"), wire::solicited_node(taken), wire::NeighborSolicit{taken, std::nullopt});
  auto frames = kit.take();
  REQUIRE(frames.size() == 1);
  auto advert = parse(frames[0]);
  CHECK(advert.destination() == wire::all_nodes());
  CHECK_FALSE(advert.is_solicited());
  CHECK(advert.target() == taken);
}

TEST_CASE("a neighbour advertisement for the gateway's address changes nothing") {
  GuestKit kit;
  wire::NeighborAdvert advert;
  advert.target = kit.config.gateway6;
  advert.target_mac = kGuestMac;
  CHECK(kit.ndp(kLinkLocal, wire::all_nodes(), advert));
  CHECK(kit.router.counters().gateway_claimed == 1);
  CHECK_FALSE(kit.router.mac_of(kit.config.gateway6).has_value());
  // One that names other hardware than it comes from is a lie.
  advert.target = ip("fd53:4c55:4943::9");
  advert.target_mac = kOtherMac;
  kit.ndp(kLinkLocal, wire::all_nodes(), advert);
  CHECK_FALSE(kit.router.mac_of(advert.target).has_value());
  CHECK(kit.take().empty());
}

TEST_CASE("router advertisements from a guest are counted and have no effect") {
  GuestKit kit;
  wire::RouterAdvert advert;
  advert.lifetime_seconds = 9000;
  advert.source_mac = kGuestMac;
  CHECK(kit.ndp(kLinkLocal, wire::all_nodes(), advert));
  CHECK(kit.router.counters().hostile_routers == 1);
  CHECK(kit.take().empty());
}

TEST_CASE("NDP that a router may have forwarded, or that is malformed, is dropped") {
  GuestKit kit;
  auto target = kit.config.gateway6;
  CHECK(kit.ndp(kLinkLocal, wire::solicited_node(target), wire::NeighborSolicit{target, kGuestMac},
                254));
  std::vector<std::uint8_t> bytes(32);
  wire::NeighborSolicit{target, kGuestMac}.emit(bytes, kLinkLocal, target);
  auto zero_length = bytes;
  zero_length[25] = 0;
  auto wrong_code = bytes;
  wrong_code[1] = 1;
  auto wrong_checksum = bytes;
  wrong_checksum[2] ^= 1;
  for (const auto& bad : {zero_length, wrong_code, wrong_checksum}) {
    CHECK(kit.icmpv6(kLinkLocal, target, bad));
  }
  CHECK(kit.take().empty());
  CHECK(kit.router.counters().ndp_malformed == 4);
  CHECK(kit.icmpv6(kLinkLocal, target, bytes));
  CHECK(kit.take().size() == 1);
}
