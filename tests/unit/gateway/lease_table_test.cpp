#include "gateway/lease_table.h"

#include <catch2/catch.hpp>

#include "guest_kit.h"

using namespace sluice;
using namespace sluice::test;
using namespace sluice::gateway;
using namespace std::chrono_literals;

namespace {

LeasePool pool(Guests guests) {
  return {.subnet = IpPrefix(ip("10.0.0.0"), 24),
          .first = ip("10.0.0.200"),
          .reserved = {ip("10.0.0.1"), ip("10.0.0.201")},
          .guests = guests,
          .offer_hold = 60s,
          .quarantine = 10min};
}

const TimePoint kNow{1h};

}  // namespace

TEST_CASE("addresses are given from the first one up, around the reserved ones, and wrap") {
  LeaseTable table(pool(Guests::several));
  std::vector<IpAddress> given;
  for (std::uint8_t i = 0; i < 60; ++i) {
    given.push_back(*table.offer(MacAddress({2, 0, 0, 0, 0, i}), std::nullopt, kNow));
  }
  CHECK(given[0] == ip("10.0.0.200"));
  CHECK(given[1] == ip("10.0.0.202"));
  CHECK(given[53] == ip("10.0.0.254"));
  CHECK(given[54] == ip("10.0.0.2"));
}

TEST_CASE("an offer is kept for its guest for a while and no longer") {
  LeaseTable table(pool(Guests::several));
  CHECK(table.offer(kGuestMac, std::nullopt, kNow) == ip("10.0.0.200"));
  CHECK(table.offer(kOtherMac, ip("10.0.0.200"), kNow + 59s) == ip("10.0.0.202"));
  table.expire(kNow + 60s);
  CHECK(table.leases().size() == 1);
  CHECK(table.bind(kOtherMac, ip("10.0.0.200"), {}, kNow + 60s, kNow + 1h));
  CHECK_FALSE(table.bind(kGuestMac, ip("10.0.0.200"), {}, kNow + 61s, kNow + 1h));
}

TEST_CASE("addresses outside the pool are never bound") {
  LeaseTable table(pool(Guests::several));
  for (const char* address : {"10.0.0.0", "10.0.0.255", "10.0.0.1", "10.0.1.7", "0.0.0.0"}) {
    CHECK_FALSE(table.bind(kGuestMac, ip(address), {}, kNow, kNow + 1h));
  }
  CHECK(table.leases().empty());
}

TEST_CASE("of several guests, none loses its lease because it was quiet") {
  LeaseTable table(pool(Guests::several));
  CHECK(table.bind(kGuestMac, ip("10.0.0.200"), {}, kNow, kNow + 1h));
  table.begin_session();
  CHECK_FALSE(table.may_use(kOtherMac, ip("10.0.0.200")));
  CHECK(table.offer(kOtherMac, std::nullopt, kNow) == ip("10.0.0.202"));
}

TEST_CASE("the only guest's first address is kept while the one that has it is there") {
  LeaseTable table(pool(Guests::one));
  CHECK(table.bind(kGuestMac, ip("10.0.0.200"), {}, kNow, kNow + 1h));
  table.begin_session();
  table.touch(kGuestMac, ip("10.0.0.200"), kNow);
  CHECK(table.offer(kOtherMac, std::nullopt, kNow) == ip("10.0.0.202"));
  table.begin_session();
  CHECK(table.may_use(kOtherMac, ip("10.0.0.200")));
}

TEST_CASE("restored leases that the pool does not allow are ignored") {
  LeaseTable table(pool(Guests::several));
  auto lease = [](const MacAddress& mac, const char* address) {
    return Lease{mac, ip(address), Lease::State::bound, kNow + 1h, {}};
  };
  table.restore(lease(kGuestMac, "192.168.1.1"));
  table.restore(lease(kGuestMac, "10.0.0.1"));
  CHECK(table.leases().empty());
  table.restore(lease(kGuestMac, "10.0.0.9"));
  table.restore(lease(kOtherMac, "10.0.0.9"));
  table.restore(lease(kGuestMac, "10.0.0.10"));
  REQUIRE(table.leases().size() == 1);
  CHECK(table.holder(ip("10.0.0.9")) == kGuestMac);
}

TEST_CASE("a /31 and a /32 have no network or broadcast address to spare") {
  auto tiny = pool(Guests::one);
  tiny.subnet = IpPrefix(ip("10.0.0.2"), 31);
  tiny.first = ip("10.0.0.3");
  tiny.reserved = {ip("10.0.0.2")};
  LeaseTable table(tiny);
  CHECK(table.offer(kGuestMac, std::nullopt, kNow) == ip("10.0.0.3"));
}
