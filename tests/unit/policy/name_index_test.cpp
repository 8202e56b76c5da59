#include "policy/name_index.h"

#include <map>
#include <random>

#include <fmt/format.h>

#include "policy/support.h"

namespace sluice::policy {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;

const TimePoint kStart{hours(1000)};

TEST_CASE("a binding is in force from the answer on, for its name and address only") {
  NameIndex index;
  CHECK_FALSE(index.is_bound(name("a.com"), ip("1.1.1.1"), kStart));
  index.bind(name("a.com"), ip("1.1.1.1"), seconds(60), kStart);
  CHECK(index.is_bound(name("a.com"), ip("1.1.1.1"), kStart));
  CHECK_FALSE(index.is_bound(name("b.com"), ip("1.1.1.1"), kStart));
  CHECK_FALSE(index.is_bound(name("a.com"), ip("1.1.1.2"), kStart));
  CHECK_FALSE(index.is_bound(name("a.com"), ip("::ffff:1.1.1.1"), kStart));
  CHECK(index.names_of(ip("1.1.1.1"), kStart) == std::vector<std::string>{"a.com"});
  CHECK(index.addresses_of(name("a.com"), kStart) == std::vector<IpAddress>{ip("1.1.1.1")});
}

TEST_CASE("entries merge: a round-robin subset never revokes an earlier address") {
  NameIndex index;
  index.bind(name("a.com"), ip("1.1.1.1"), seconds(60), kStart);
  index.bind(name("a.com"), ip("1.1.1.2"), seconds(60), kStart + seconds(61));
  CHECK(index.is_bound(name("a.com"), ip("1.1.1.1"), kStart + seconds(61)));
  CHECK(index.addresses_of(name("a.com"), kStart + seconds(61)).size() == 2);
}

TEST_CASE("each address has its own expiry, the greater of TTL and grace") {
  NameIndex index;
  index.bind(name("a.com"), ip("1.1.1.1"), seconds(0), kStart);
  index.bind(name("a.com"), ip("1.1.1.2"), minutes(10), kStart);
  auto bound = [&](const char* address, Duration after) {
    return index.is_bound(name("a.com"), ip(address), kStart + after);
  };
  CHECK(bound("1.1.1.1", minutes(5) - seconds(1)));
  CHECK_FALSE(bound("1.1.1.1", minutes(5)));
  CHECK(bound("1.1.1.2", minutes(10) - seconds(1)));
  CHECK_FALSE(bound("1.1.1.2", minutes(10)));
}

TEST_CASE("a later answer with a shorter TTL does not shorten a binding") {
  NameIndex index;
  index.bind(name("a.com"), ip("1.1.1.1"), hours(1), kStart);
  index.bind(name("a.com"), ip("1.1.1.1"), seconds(1), kStart + seconds(1));
  CHECK(index.is_bound(name("a.com"), ip("1.1.1.1"), kStart + minutes(59)));
}

TEST_CASE("a TTL of 68 years ends after a day") {
  NameIndex index;
  index.bind(name("a.com"), ip("1.1.1.1"), seconds(INT32_MAX), kStart);
  CHECK(index.is_bound(name("a.com"), ip("1.1.1.1"), kStart + hours(23)));
  CHECK_FALSE(index.is_bound(name("a.com"), ip("1.1.1.1"), kStart + hours(24)));
}

TEST_CASE("an address in use by an open flow stays bound for that flow's life") {
  NameIndex index;
  index.bind(name("a.com"), ip("1.1.1.1"), seconds(60), kStart);
  auto later = kStart + hours(48);
  {
    auto flow = index.pin(ip("1.1.1.1"));
    auto second = index.pin(ip("1.1.1.1"));
    CHECK(index.is_bound(name("a.com"), ip("1.1.1.1"), later));
    second = NameIndex::Pin();
    CHECK(index.names_of(ip("1.1.1.1"), later).size() == 1);
    NameIndex::Pin moved = std::move(flow);
    CHECK(index.is_bound(name("a.com"), ip("1.1.1.1"), later));
  }
  CHECK_FALSE(index.is_bound(name("a.com"), ip("1.1.1.1"), later));
}

TEST_CASE("an address without names has nothing to pin") {
  NameIndex index;
  auto pin = index.pin(ip("1.1.1.1"));
  CHECK(pin.is_empty());
  index.bind(name("a.com"), ip("1.1.1.1"), {}, kStart);
}

TEST_CASE("CNAME names between are bound like the name asked") {
  NameIndex index;
  for (const char* link : {"www.a.com", "a.cdn.net", "edge.cdn.net"}) {
    index.bind(name(link), ip("1.1.1.1"), seconds(60), kStart);
  }
  CHECK(index.names_of(ip("1.1.1.1"), kStart) ==
        std::vector<std::string>{"edge.cdn.net", "a.cdn.net", "www.a.com"});
}

TEST_CASE("forgetting a name drops its bindings and no others, pinned or not") {
  NameIndex index;
  index.bind(name("a.com"), ip("1.1.1.1"), seconds(60), kStart);
  index.bind(name("a.com"), ip("1.1.1.2"), seconds(60), kStart);
  index.bind(name("b.com"), ip("1.1.1.1"), seconds(60), kStart);
  auto pin = index.pin(ip("1.1.1.2"));
  index.forget(name("a.com"));
  index.forget(name("never.com"));
  CHECK(index.addresses_of(name("a.com"), kStart).empty());
  CHECK(index.names_of(ip("1.1.1.1"), kStart) == std::vector<std::string>{"b.com"});
  index.bind(name("a.com"), ip("1.1.1.2"), seconds(60), kStart);
  CHECK(index.is_bound(name("a.com"), ip("1.1.1.2"), kStart + hours(1)));
}

TEST_CASE("when full, the oldest idle binding goes, counted, and the new one is made") {
  NameIndex index({.bindings = 3});
  index.bind(name("a.com"), ip("1.0.0.1"), {}, kStart);
  index.bind(name("b.com"), ip("1.0.0.2"), {}, kStart);
  index.bind(name("c.com"), ip("1.0.0.3"), {}, kStart);
  index.bind(name("a.com"), ip("1.0.0.1"), {}, kStart);
  index.bind(name("d.com"), ip("1.0.0.4"), {}, kStart);
  CHECK(index.size() == 3);
  CHECK(index.is_bound(name("a.com"), ip("1.0.0.1"), kStart));
  CHECK_FALSE(index.is_bound(name("b.com"), ip("1.0.0.2"), kStart));
  CHECK(index.is_bound(name("d.com"), ip("1.0.0.4"), kStart));
  CHECK(index.counters().evicted == 1);
}

TEST_CASE("a pinned binding never makes room; where all are pinned the new one is refused") {
  NameIndex index({.bindings = 2});
  index.bind(name("a.com"), ip("1.0.0.1"), {}, kStart);
  index.bind(name("b.com"), ip("1.0.0.2"), {}, kStart);
  auto a = index.pin(ip("1.0.0.1"));
  index.bind(name("c.com"), ip("1.0.0.3"), {}, kStart);
  CHECK(index.is_bound(name("a.com"), ip("1.0.0.1"), kStart));
  CHECK(index.is_bound(name("c.com"), ip("1.0.0.3"), kStart));
  auto c = index.pin(ip("1.0.0.3"));
  index.bind(name("d.com"), ip("1.0.0.4"), {}, kStart);
  CHECK_FALSE(index.is_bound(name("d.com"), ip("1.0.0.4"), kStart));
  CHECK(index.counters().refused == 1);
  a = NameIndex::Pin();
  index.bind(name("d.com"), ip("1.0.0.4"), {}, kStart);
  CHECK(index.is_bound(name("d.com"), ip("1.0.0.4"), kStart));
}

TEST_CASE("one name with very many addresses keeps to its share") {
  NameIndex index({.addresses_per_name = 8});
  for (std::uint32_t i = 0; i < 1000; ++i) {
    index.bind(name("a.com"), IpAddress::v4(0x01000000 + i), {}, kStart);
  }
  CHECK(index.size() == 8);
  CHECK(index.is_bound(name("a.com"), IpAddress::v4(0x01000000 + 999), kStart));
}

TEST_CASE("one address with very many names keeps to its share") {
  NameIndex index({.names_per_address = 8});
  for (int i = 0; i < 1000; ++i) {
    index.bind(name(fmt::format("n{}.com", i)), ip("1.1.1.1"), {}, kStart);
  }
  CHECK(index.names_of(ip("1.1.1.1"), kStart).size() == 8);
  CHECK(index.is_bound(name("n999.com"), ip("1.1.1.1"), kStart));
}

TEST_CASE("10,000 long names stay within the bound of bytes, and the latest are kept") {
  NameIndex index({.bytes = 256 << 10});
  for (int i = 0; i < 10'000; ++i) {
    std::string text = fmt::format("{:05}.{:x>60}.{:x>60}.{:x>60}.com", i, "", "", "");
    index.bind(name(text), IpAddress::v4(0x01000000U + static_cast<std::uint32_t>(i)), {}, kStart);
    REQUIRE(index.bytes() <= 256 << 10);
  }
  CHECK(index.size() > 500);
  CHECK(index.names_of(IpAddress::v4(0x01000000U + 9'999), kStart).size() == 1);
  CHECK(index.names_of(IpAddress::v4(0x01000000U), kStart).empty());
}

TEST_CASE("all bytes come back when all names are forgotten") {
  NameIndex index;
  for (int i = 0; i < 100; ++i) {
    index.bind(name(fmt::format("n{}.com", i)),
               IpAddress::v4(0x01000000U + static_cast<std::uint32_t>(i % 7)), {}, kStart);
  }
  for (int i = 0; i < 100; ++i) index.forget(name(fmt::format("n{}.com", i)));
  CHECK(index.size() == 0);
  CHECK(index.bytes() == 0);
}

TEST_CASE("the index agrees with a naive model under random use and time") {
  for (unsigned seed = 0; seed < 20; ++seed) {
    std::mt19937 random(seed);
    auto below = [&](int n) { return std::uniform_int_distribution<int>(0, n - 1)(random); };
    NameIndex index;
    std::map<std::pair<int, int>, TimePoint> model;  // (name, address) -> expiry
    std::vector<std::pair<int, NameIndex::Pin>> pins;
    std::vector<DomainName> names;
    std::vector<IpAddress> addresses;
    for (int i = 0; i < 10; ++i) {
      names.push_back(name(fmt::format("n{}.com", i)));
      addresses.push_back(IpAddress::v4(0x01000000U + static_cast<std::uint32_t>(i)));
    }
    auto is_pinned = [&](int address) {
      return std::any_of(pins.begin(), pins.end(), [&](auto& p) { return p.first == address; });
    };
    TimePoint now = kStart;
    for (int step = 0; step < 2000; ++step) {
      int n = below(10), a = below(10);
      auto ni = static_cast<std::size_t>(n), ai = static_cast<std::size_t>(a);
      now += seconds(below(60));
      switch (below(6)) {
        case 0:
        case 1: {
          Duration ttl = seconds(below(1200));
          index.bind(names[ni], addresses[ai], ttl, now);
          TimePoint& expires = model.try_emplace({n, a}, kStart).first->second;
          expires = std::max(expires, now + std::max<Duration>(ttl, minutes(5)));
          break;
        }
        case 2: {
          auto pin = index.pin(addresses[ai]);
          if (!pin.is_empty()) pins.emplace_back(a, std::move(pin));
          break;
        }
        case 3:
          if (!pins.empty()) pins.erase(pins.begin() + below(static_cast<int>(pins.size())));
          break;
        case 4:
          if (below(20) == 0) {
            index.forget(names[ni]);
            std::erase_if(model, [&](const auto& entry) { return entry.first.first == n; });
          }
          break;
        default:
          break;
      }
      auto at = model.find({n, a});
      bool expected = at != model.end() && (now < at->second || is_pinned(a));
      REQUIRE(index.is_bound(names[ni], addresses[ai], now) == expected);
    }
  }
}

}  // namespace
}  // namespace sluice::policy
