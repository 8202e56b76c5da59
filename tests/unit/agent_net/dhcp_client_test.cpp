#include <catch2/catch.hpp>

#include "dhcp_world.h"

using namespace sluice;
using namespace sluice::test;
using State = DhcpClient::State;

TEST_CASE("a lease takes four messages: DISCOVER, OFFER, REQUEST, ACK") {
  DhcpWorld world(*DomainName::parse("build-7"));
  REQUIRE(world.link.sent.size() == 1);
  const Sent discover = world.last();
  CHECK(discover.at == TimePoint(1000s));  // at once
  CHECK(discover.type() == DhcpType::discover);
  CHECK(discover.source == IpAddress());
  CHECK_FALSE(discover.server.has_value());
  CHECK(discover.view().is_request());
  CHECK(discover.view().client_mac() == kClientMac);
  CHECK_FALSE(discover.view().broadcast());
  CHECK(discover.has(DhcpOption::rapid_commit));
  CHECK(discover.view().number16(DhcpOption::max_message_size) == 1472);
  CHECK(discover.view().text(DhcpOption::host_name) == "build-7");
  for (int code : {1, 3, 6, 12, 15, 26, 51, 54, 58, 59, 119, 121}) {
    CAPTURE(code);
    CHECK(discover.view().wanted().test(code));
  }

  world.answer({.type = DhcpType::offer});
  REQUIRE(world.link.sent.size() == 2);
  const Sent request = world.last();
  CHECK(request.type() == DhcpType::request);
  CHECK(request.view().transaction() == discover.view().transaction());
  CHECK(request.view().address(DhcpOption::requested_address) == kAddress);
  CHECK(request.view().address(DhcpOption::server_id) == kServer);
  CHECK(request.view().client_address() == IpAddress());
  CHECK_FALSE(request.has(DhcpOption::rapid_commit));
  CHECK(world.state() == State::requesting);
  CHECK(world.bound.empty());

  world.answer({});
  CHECK(world.state() == State::bound);
  REQUIRE(world.bound.size() == 1);
  CHECK(world.bound[0].address == kAddress);
  CHECK(world.bound[0].prefix_length == 24);
  CHECK(world.bound[0].routers == std::vector{kServer});
  CHECK(world.client.lease() == world.bound[0]);
  CHECK(world.lost.empty());
}

TEST_CASE("with Rapid Commit a lease takes two messages") {
  DhcpWorld world;
  world.answer({.rapid = true});
  CHECK(world.state() == State::bound);
  CHECK(world.link.sent.size() == 1);
  CHECK(world.bound.size() == 1);
}

TEST_CASE("an ACK to a DISCOVER without the Rapid Commit option is ignored") {
  DhcpWorld world;
  world.answer({});
  CHECK(world.state() == State::selecting);
  CHECK(world.client.counters().ignored == 1);
}

TEST_CASE(
    "a server that drops is asked again after 50 ms, then each time twice as late up to 64 s") {
  DhcpWorld world;
  world.loop.advance(600s);
  const auto& sent = world.link.sent;
  REQUIRE(sent.size() > 12);
  Duration expected = 50ms;
  for (std::size_t i = 1; i < sent.size(); ++i) {
    Duration gap = sent[i].at - sent[i - 1].at;
    CHECK(gap >= expected * 3 / 4);
    CHECK(gap <= expected * 5 / 4 + 1ms);
    CHECK(sent[i].view().transaction() == sent[0].view().transaction());
    expected = std::min<Duration>(expected * 2, 64s);
  }
  CHECK(sent.back().at - sent[sent.size() - 2].at >= 48s);
  world.get_lease();
  CHECK(world.state() == State::bound);
}

TEST_CASE(
    "a server that hears only the third DISCOVER still gives a lease, with broadcast replies") {
  DhcpWorld world;
  world.loop.advance(200ms);
  REQUIRE(world.link.sent.size() == 3);
  CHECK_FALSE(world.link.sent[1].view().broadcast());
  CHECK(world.last().view().broadcast());
  world.answer({.type = DhcpType::offer});
  CHECK(world.last().view().broadcast());
  world.answer({});
  CHECK(world.state() == State::bound);
}

TEST_CASE("the seconds field tells how long the client has been waiting") {
  DhcpWorld world;
  CHECK(load_be16(&world.last().bytes[8]) == 0);
  world.loop.advance(10s);
  auto waited =
      std::chrono::duration_cast<std::chrono::seconds>(world.last().at - TimePoint(1000s));
  CHECK(load_be16(&world.last().bytes[8]) == waited.count());
}

TEST_CASE("of several offers the first is taken") {
  DhcpWorld world;
  const Sent discover = world.last();
  world.answer({.type = DhcpType::offer});
  world.link.deliver(make_answer(discover, {.type = DhcpType::offer}));
  world.link.deliver(make_answer(
      discover,
      {.type = DhcpType::offer, .address = IpAddress::v4(10, 0, 0, 50), .server = kOther}));
  CHECK(world.link.sent.size() == 2);
  CHECK(world.last().view().address(DhcpOption::server_id) == kServer);
  world.answer({});
  world.answer({});  // a duplicate ACK
  CHECK(world.bound.size() == 1);
  CHECK(world.client.counters().ignored == 3);
}

TEST_CASE("a lost REQUEST is sent again; an offer that is never confirmed is given up") {
  DhcpWorld world;
  world.answer({.type = DhcpType::offer});
  world.loop.advance(100ms);
  CHECK(world.link.sent.size() == 3);
  CHECK(world.last().type() == DhcpType::request);
  world.loop.advance(2500ms);
  CHECK(world.last().type() == DhcpType::discover);
  CHECK(world.state() == State::selecting);
  CHECK(std::ranges::count_if(world.link.sent, [](const Sent& sent) {
          return sent.type() == DhcpType::request;
        }) == DhcpClient::kRequestTries);
  world.get_lease();
  CHECK(world.state() == State::bound);
}

TEST_CASE("a NAK to a REQUEST starts again at once, with another transaction") {
  DhcpWorld world;
  auto first = world.last().view().transaction();
  world.answer({.type = DhcpType::offer});
  world.answer({.type = DhcpType::nak});
  CHECK(world.link.sent.size() == 3);
  CHECK(world.last().type() == DhcpType::discover);
  CHECK(world.last().view().transaction() != first);
  CHECK(world.bound.empty());
  CHECK(world.lost.empty());
  world.get_lease();
  CHECK(world.state() == State::bound);
}

TEST_CASE("a server that offers and always refuses is not asked without rest") {
  DhcpWorld world;
  for (int round = 0; round < 30; ++round) {
    while (world.last().type() != DhcpType::discover) world.loop.advance_to_next_timer();
    world.answer({.type = DhcpType::offer});
    world.answer({.type = DhcpType::nak});
    while (world.state() == State::selecting && world.last().type() != DhcpType::discover) {
      world.loop.advance_to_next_timer();
    }
  }
  CHECK(world.loop.now() - TimePoint(1000s) > 15min);
}

TEST_CASE("at T1 the lease is renewed with its server alone") {
  DhcpWorld world;
  world.get_lease();
  world.loop.advance(1799s);
  CHECK(world.link.sent.size() == 2);
  world.loop.advance(1s);
  REQUIRE(world.link.sent.size() == 3);
  CHECK(world.state() == State::renewing);
  CHECK(world.last().type() == DhcpType::request);
  CHECK(world.last().source == kAddress);
  CHECK(world.last().server == kServer);
  CHECK(world.last().view().client_address() == kAddress);
  CHECK_FALSE(world.last().has(DhcpOption::requested_address));
  CHECK_FALSE(world.last().has(DhcpOption::server_id));
  world.answer({});
  CHECK(world.state() == State::bound);
  CHECK(world.bound.size() == 2);
  CHECK(world.lost.empty());
  // The new lease runs from its own start.
  world.loop.advance(1799s);
  CHECK(world.state() == State::bound);
  world.loop.advance(1s);
  CHECK(world.state() == State::renewing);
}

TEST_CASE(
    "a renewal without an answer is repeated, at T2 anybody is asked, at the end it is over") {
  DhcpWorld world;
  world.get_lease();
  world.loop.advance(3149s);
  CHECK(world.state() == State::renewing);
  std::size_t unicasts = world.link.sent.size() - 2;
  CHECK(unicasts >= 3);
  CHECK(unicasts <= 8);
  world.loop.advance(1s);
  CHECK(world.state() == State::rebinding);
  CHECK_FALSE(world.last().server.has_value());
  CHECK(world.last().source == kAddress);
  CHECK(world.last().view().client_address() == kAddress);
  world.loop.advance(449s);
  CHECK(world.state() == State::rebinding);
  CHECK(world.lost.empty());
  CHECK(world.client.lease().has_value());
  world.loop.advance(1s);
  REQUIRE(world.lost.size() == 1);
  CHECK(world.lost[0].address == kAddress);
  CHECK_FALSE(world.client.lease().has_value());
  CHECK(world.state() == State::selecting);
  CHECK(world.last().type() == DhcpType::discover);
  CHECK(world.last().source == IpAddress());
  world.get_lease();
  CHECK(world.state() == State::bound);
}

TEST_CASE("another server may take a lease over at T2, but not before") {
  DhcpWorld world;
  world.get_lease();
  world.loop.advance(1800s);
  world.answer({.server = kOther});
  CHECK(world.state() == State::renewing);
  world.answer({.type = DhcpType::nak, .server = kOther});
  CHECK(world.state() == State::renewing);
  world.loop.advance(1350s);
  REQUIRE(world.state() == State::rebinding);
  world.answer({.server = kOther});
  CHECK(world.state() == State::bound);
  CHECK(world.client.lease()->server == kOther);
}

TEST_CASE("a renewal may bring another address and other settings") {
  DhcpWorld world;
  world.get_lease();
  world.loop.advance(1800s);
  world.answer({.address = IpAddress::v4(10, 0, 0, 7), .more = [](DhcpBuilder& builder) {
                  builder.add16(DhcpOption::interface_mtu, 1400);
                }});
  REQUIRE(world.bound.size() == 2);
  CHECK(world.bound[1].address == IpAddress::v4(10, 0, 0, 7));
  CHECK(world.bound[1].mtu == 1400);
  CHECK(world.lost.empty());
}

TEST_CASE("a NAK to a renewal ends the lease and asks for another") {
  DhcpWorld world;
  world.get_lease();
  world.loop.advance(1800s);
  world.answer({.type = DhcpType::nak});
  CHECK(world.lost.size() == 1);
  CHECK(world.last().type() == DhcpType::discover);
  world.get_lease({.address = IpAddress::v4(10, 0, 0, 8)});
  CHECK(world.client.lease()->address == IpAddress::v4(10, 0, 0, 8));
}

TEST_CASE("T1 and T2 are the server's where they make sense, halves and eighths where not") {
  auto with_times = [](std::uint32_t t1, std::uint32_t t2) {
    DhcpWorld world;
    world.get_lease({.more = [=](DhcpBuilder& builder) {
      builder.add32(DhcpOption::renewal_seconds, t1);
      builder.add32(DhcpOption::rebinding_seconds, t2);
    }});
    return std::pair(world.bound[0].renew_after, world.bound[0].rebind_after);
  };
  CHECK(with_times(5, 20) == std::pair(5s, 20s));
  CHECK(with_times(0, 20) == std::pair(1s, 20s));
  CHECK(with_times(20, 5) == std::pair(1800s, 3150s));
  CHECK(with_times(5, 3600) == std::pair(1800s, 3150s));
  CHECK(with_times(0xffffffff, 0xffffffff) == std::pair(1800s, 3150s));
}

TEST_CASE("a lease for ever is never renewed") {
  DhcpWorld world;
  world.get_lease({.lease_seconds = 0xffffffff});
  CHECK(world.bound[0].is_forever());
  CHECK(world.loop.active_timers() == 0);
  world.client.revalidate();
  world.answer({.lease_seconds = 0xffffffff});
  CHECK(world.state() == State::bound);
  CHECK(world.loop.active_timers() == 0);
}

TEST_CASE("after a resume the lease is asked about, and stays where nobody answers") {
  DhcpWorld world;
  world.get_lease();
  world.client.revalidate();
  CHECK(world.state() == State::rebooting);
  CHECK(world.last().type() == DhcpType::request);
  CHECK_FALSE(world.last().server.has_value());
  CHECK(world.last().view().address(DhcpOption::requested_address) == kAddress);
  CHECK(world.last().view().client_address() == IpAddress());
  CHECK_FALSE(world.last().has(DhcpOption::server_id));
  world.loop.advance(5s);
  CHECK(world.state() == State::bound);
  CHECK(world.lost.empty());
  world.client.revalidate();
  world.answer({});
  CHECK(world.bound.size() == 2);
  world.client.revalidate();
  world.answer({.type = DhcpType::nak});
  CHECK(world.lost.size() == 1);
  CHECK(world.state() == State::selecting);
}

TEST_CASE("without a lease a resume asks for one at once, however long the waits have become") {
  DhcpWorld world;
  world.loop.advance(300s);
  std::size_t before = world.link.sent.size();
  world.client.revalidate();
  CHECK(world.link.sent.size() == before + 1);
  world.loop.advance(65ms);
  CHECK(world.link.sent.size() == before + 2);
}

TEST_CASE("a stopped client sends nothing and takes nothing") {
  DhcpWorld world;
  const Sent discover = world.last();
  world.client.stop();
  world.link.deliver(make_answer(discover, {.rapid = true}));
  world.client.revalidate();
  world.loop.advance(100s);
  CHECK(world.link.sent.size() == 1);
  CHECK(world.bound.empty());
  world.client.start();
  world.get_lease();
  CHECK(world.state() == State::bound);
}

TEST_CASE("a link that can't send for a while costs only time") {
  DhcpWorld world;
  world.link.result = Status(StatusCode::unreachable, "down");
  world.loop.advance(500ms);
  CHECK(world.client.counters().send_errors >= 3);
  world.link.result = Status::ok();
  world.loop.advance(1s);
  world.get_lease();
  CHECK(world.state() == State::bound);
}
