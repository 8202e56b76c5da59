#include <catch2/catch.hpp>

#include "dhcp_world.h"

using namespace sluice;
using namespace sluice::test;
using State = DhcpClient::State;

TEST_CASE("an answer with another transaction or another's hardware address is not believed") {
  for (DhcpType type : {DhcpType::offer, DhcpType::ack, DhcpType::nak}) {
    DhcpWorld world;
    world.answer({.type = type, .transaction = 0x01020304, .rapid = true});
    world.answer({.type = type, .mac = MacAddress({2, 0, 0, 0, 0, 1}), .rapid = true});
    CHECK(world.state() == State::selecting);
    CHECK(world.link.sent.size() == 1);
    CHECK(world.client.counters().ignored == 2);
  }
}

TEST_CASE("only the chosen server can confirm or refuse an offer") {
  DhcpWorld world;
  world.answer({.type = DhcpType::offer});
  world.answer({.server = kOther});
  world.answer({.type = DhcpType::nak, .server = kOther});
  CHECK(world.state() == State::requesting);
  CHECK(world.bound.empty());
  world.answer({});
  CHECK(world.state() == State::bound);
}

TEST_CASE("in peace nobody can change or end a lease") {
  DhcpWorld world;
  world.get_lease();
  world.answer({.type = DhcpType::nak});
  world.answer({.address = IpAddress::v4(10, 0, 0, 66)});
  CHECK(world.state() == State::bound);
  CHECK(world.bound.size() == 1);
  CHECK(world.lost.empty());
}

TEST_CASE("an answer to an earlier transaction is late") {
  DhcpWorld world;
  const Sent discover = world.last();
  world.answer({.type = DhcpType::offer});
  world.answer({.type = DhcpType::nak});
  world.link.deliver(make_answer(discover, {.type = DhcpType::offer}));
  CHECK(world.state() == State::selecting);
}

TEST_CASE("what another client asks is not an answer") {
  DhcpWorld world;
  world.link.deliver(world.last().bytes);
  CHECK(world.client.counters().malformed == 1);
  CHECK(world.state() == State::selecting);
}

TEST_CASE("an address that no host can have is no lease, and the search goes on") {
  for (auto address :
       {IpAddress(), IpAddress::v4(127, 0, 0, 1), IpAddress::v4(224, 0, 0, 1),
        IpAddress::v4(255, 255, 255, 255), IpAddress::v4(240, 0, 0, 1), IpAddress::v4(0, 1, 2, 3),
        IpAddress::v4(10, 0, 0, 0), IpAddress::v4(10, 0, 0, 255)}) {
    CAPTURE(address.to_string());
    DhcpWorld world;
    world.answer({.type = DhcpType::offer, .address = address});
    CHECK(world.state() == State::selecting);
    CHECK(world.client.counters().refused == 1);
    world.answer({.address = address, .rapid = true});
    CHECK(world.bound.empty());
    world.get_lease();
    CHECK(world.state() == State::bound);
  }
}

TEST_CASE("a lease of no time does not make the client ask without rest") {
  DhcpWorld world;
  world.get_lease({.lease_seconds = 0, .more = [](DhcpBuilder& builder) {
                     builder.add32(DhcpOption::renewal_seconds, 0);
                     builder.add32(DhcpOption::rebinding_seconds, 0);
                   }});
  CHECK(world.state() == State::bound);
  std::size_t before = world.link.sent.size();
  world.loop.advance(9s);
  CHECK(world.link.sent.size() <= before + 9);
}

TEST_CASE("an answer cut anywhere is harmless") {
  auto more = [](DhcpBuilder& builder) {
    builder.add_search_list({*DomainName::parse("a.example"), *DomainName::parse("b.example")});
    builder.add_routes({{*IpPrefix::parse("10.9.0.0/16"), kServer}});
  };
  DhcpWorld world;
  auto whole = make_answer(world.last(), {.more = more});
  for (std::size_t size = 0; size < whole.size(); ++size) {
    world.link.deliver(ConstBytes(whole).first(size));
  }
  CHECK(world.state() == State::selecting);
  world.get_lease({.more = more});
  CHECK(world.state() == State::bound);
}

TEST_CASE("any byte of an answer may be wrong") {
  for (int flip : {0x01, 0x80, 0xff}) {
    DhcpWorld probe;
    std::size_t size = make_answer(probe.last(), {.rapid = true}).size();
    for (std::size_t at = 0; at < size; ++at) {
      DhcpWorld world;
      auto bytes = make_answer(world.last(), {.rapid = true});
      bytes[at] ^= static_cast<std::uint8_t>(flip);
      world.link.deliver(bytes);
      world.loop.advance(30s);
      auto state = world.state();
      CHECK((state == State::selecting || state == State::bound || state == State::requesting ||
             state == State::renewing));
    }
  }
}

TEST_CASE("a flood of answers makes the client send nothing") {
  DhcpWorld world;
  world.get_lease();
  for (int i = 0; i < 10'000; ++i) {
    world.answer({.type = i % 2 == 0 ? DhcpType::nak : DhcpType::offer});
  }
  CHECK(world.link.sent.size() == 2);
  CHECK(world.state() == State::bound);
}
