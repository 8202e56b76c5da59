#include <catch2/catch.hpp>

#include "guest_kit.h"
#include "wire/ndp.h"

using namespace sluice;
using namespace sluice::test;
using gateway::SourceCheck;

TEST_CASE("a guest may send from its lease and from nothing else in the subnet") {
  GuestKit kit;
  get_lease(kit);
  CHECK(kit.check(ip("192.168.127.2")) == SourceCheck::allowed);
  for (const char* spoofed : {"192.168.127.3", "192.168.127.0", "192.168.127.255", "127.0.0.1",
                              "0.0.0.0", "224.0.0.1", "255.255.255.255", "10.0.0.1", "8.8.8.8"}) {
    CAPTURE(spoofed);
    CHECK(kit.check(ip(spoofed)) == SourceCheck::not_permitted);
  }
  CHECK(kit.router.counters().spoofed_address == 9);
}

TEST_CASE("nobody sends from the router's own addresses or MAC") {
  GuestKit kit;
  for (const char* own :
       {"192.168.127.1", "192.168.127.254", "fd53:4c55:4943::1", "fd53:4c55:4943::fe"}) {
    CAPTURE(own);
    CHECK(kit.check(ip(own)) == SourceCheck::own_address);
  }
  CHECK(kit.check(wire::link_local_from(kit.config.mac)) == SourceCheck::own_address);
  CHECK(kit.check(ip("192.168.127.2"), kit.config.mac) == SourceCheck::spoofed_mac);
  CHECK(kit.check(ip("192.168.127.2"), MacAddress()) == SourceCheck::spoofed_mac);
  CHECK(kit.check(ip("192.168.127.2"), MacAddress::broadcast()) == SourceCheck::spoofed_mac);
}

TEST_CASE("a guest without DHCP may use the first address, unless another has it") {
  gateway::Config config;
  config.guests = gateway::Guests::several;
  GuestKit kit(config);
  CHECK(kit.check(ip("192.168.127.2")) == SourceCheck::allowed);
  get_lease(kit, kOtherMac);
  CHECK(kit.check(ip("192.168.127.2")) == SourceCheck::not_permitted);
  CHECK(kit.check(ip("192.168.127.2"), kOtherMac) == SourceCheck::allowed);
}

TEST_CASE("a guest that never renews keeps its address") {
  GuestKit kit;
  get_lease(kit);
  kit.advance(kit.config.lease * 3);
  CHECK(kit.check(ip("192.168.127.2")) == SourceCheck::allowed);
}

TEST_CASE("any address of the announced prefix and fe80::/10 is the guest's, no other IPv6 is") {
  GuestKit kit;
  CHECK(kit.check(ip("fd53:4c55:4943::abcd:1")) == SourceCheck::allowed);
  CHECK(kit.check(ip("fe80::5054:ff:fe00:1")) == SourceCheck::allowed);
  CHECK(kit.router.mac_of(ip("fd53:4c55:4943::abcd:1")) == kGuestMac);
  for (const char* spoofed : {"fd53:4c55:4943::", "::1", "::", "ff02::1", "2001:db8::1",
                              "fd53:4c55:4944::2", "::ffff:192.168.127.2"}) {
    CAPTURE(spoofed);
    CHECK(kit.check(ip(spoofed)) == SourceCheck::not_permitted);
  }
}

TEST_CASE("of several guests, none takes an IPv6 address that another uses") {
  gateway::Config config;
  config.guests = gateway::Guests::several;
  GuestKit kit(config);
  auto address = ip("fd53:4c55:4943::7");
  CHECK(kit.check(address) == SourceCheck::allowed);
  CHECK(kit.check(address, kOtherMac) == SourceCheck::not_permitted);
  CHECK(kit.router.mac_of(address) == kGuestMac);
  kit.now += std::chrono::minutes(6);
  CHECK(kit.check(address, kOtherMac) == SourceCheck::allowed);
  CHECK(kit.router.mac_of(address) == kOtherMac);
}

TEST_CASE("the neighbour table is bounded per MAC and in all") {
  GuestKit kit;
  auto& prefix = kit.config.prefix6;
  for (std::uint32_t i = 0; i < 5000; ++i) {
    MacAddress mac({2, 0, 0, 0, static_cast<std::uint8_t>(i / 1000), 7});
    CHECK(kit.check(prefix.at(1000 + i), mac) == SourceCheck::allowed);
    kit.now += std::chrono::milliseconds(1);
  }
  std::size_t known = 0;
  for (std::uint32_t i = 0; i < 5000; ++i) known += kit.router.mac_of(prefix.at(1000 + i)) ? 1 : 0;
  CHECK(known == 5 * kit.config.max_addresses_per_mac - 64);  // 256 of 320
  CHECK(kit.router.counters().neighbours_evicted == 5000 - 256);
  CHECK(kit.router.mac_of(prefix.at(1000 + 4999)).has_value());
}

TEST_CASE("routed prefixes are the guest's to send from, and lead to it") {
  gateway::Config config;
  config.routed = {IpPrefix(ip("10.88.0.0"), 16), IpPrefix(ip("fd99::"), 64)};
  GuestKit kit(config);
  CHECK(kit.check(ip("10.88.3.4")) == SourceCheck::allowed);
  CHECK(kit.check(ip("fd99::5")) == SourceCheck::allowed);
  CHECK(kit.check(ip("10.89.0.1")) == SourceCheck::not_permitted);
  CHECK(kit.check(ip("192.168.127.1")) == SourceCheck::own_address);
  CHECK_FALSE(kit.router.mac_of(ip("10.88.9.9")).has_value());
  get_lease(kit);
  CHECK(kit.router.mac_of(ip("10.88.9.9")) == kGuestMac);
}

TEST_CASE("multicast and broadcast addresses map to their MACs") {
  GuestKit kit;
  CHECK(kit.router.mac_of(ip("192.168.127.255")) == MacAddress::broadcast());
  CHECK(kit.router.mac_of(ip("255.255.255.255")) == MacAddress::broadcast());
  CHECK(kit.router.mac_of(ip("224.0.0.251")) == MacAddress({1, 0, 0x5e, 0, 0, 0xfb}));
  CHECK(kit.router.mac_of(ip("ff02::fb")) == MacAddress({0x33, 0x33, 0, 0, 0, 0xfb}));
}
