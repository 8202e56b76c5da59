#include "hostd/guest/clock_keeper.h"

#include <catch2/catch.hpp>

#include <optional>
#include <string>
#include <vector>

#include "agent/rpc/message.h"
#include "sluice/agent/v1/agent.pb.h"
#include "support/virtual_loop.h"

namespace sluice::hostd {
namespace {

using namespace std::chrono_literals;
using agent::rpc::Message;

/// A guest whose clock is off by so much, and which answers after a while; or is stopped.
struct Guest {
  test::VirtualLoop loop;
  std::int64_t behind_ns = 0;
  Duration delay = 0ns;
  bool may_be_set = true;
  std::vector<std::string> calls;
  std::vector<std::unique_ptr<Timer>> answers;
  std::vector<std::int64_t> moves;
  ClockKeeper keeper{loop, [this](std::string_view method, ConstBytes message, auto on_answer) {
                       take(method, message, std::move(on_answer));
                     }};

  void take(std::string_view method, ConstBytes message, ClockKeeper::OnAnswer on_answer) {
    calls.emplace_back(method);
    std::vector<std::uint8_t> copy(message.begin(), message.end());
    answers.push_back(loop.make_timer([this, method = std::string(method), copy, on_answer] {
      answer(method, copy, on_answer);
    }));
    answers.back()->start(delay);
  }

  void answer(const std::string& method, ConstBytes message,
              const ClockKeeper::OnAnswer& on_answer) {
    if (method == "Ping") {
      // Asked half a round trip ago.
      sluice_agent_v1_PingResponse pong{};
      pong.realtime_ns = loop.wall_time_ns() - delay.count() / 2 - behind_ns;
      return on_answer(agent::rpc::encode(pong));
    }
    if (method == "SeedRandom") return on_answer(ConstBytes());
    if (!may_be_set) return on_answer(std::nullopt);
    auto request = Message<sluice_agent_v1_SetTimeRequest>::parse(message);
    REQUIRE(request);
    moves.push_back((*request)->offset_ns);
    sluice_agent_v1_SetTimeResponse response{};
    response.offset_ns = (*request)->offset_ns;
    response.stepped = std::abs(response.offset_ns) >= Duration(500ms).count();
    behind_ns -= response.stepped ? response.offset_ns : 0;
    on_answer(agent::rpc::encode(response));
  }

  std::size_t count(std::string_view method) const {
    return static_cast<std::size_t>(std::count(calls.begin(), calls.end(), method));
  }
};

TEST_CASE("a clock that is right is looked at and left alone") {
  Guest guest;
  guest.delay = 1ms;
  guest.keeper.begin();
  guest.loop.advance(60s);
  CHECK(guest.moves.empty());
  CHECK(guest.count("Ping") == 6);
  CHECK(guest.keeper.offset_ns() == 0);
}

TEST_CASE("a guest that starts in the past is set to the host's time at once, and seeded") {
  Guest guest;
  guest.delay = 2ms;
  guest.behind_ns = Duration(500s).count();
  guest.keeper.begin();
  guest.loop.advance(10ms);
  REQUIRE(guest.moves.size() == 1);
  CHECK(guest.moves[0] == Duration(500s).count());
  CHECK(guest.count("SeedRandom") == 2);
  guest.loop.advance(60s);
  CHECK(guest.moves.size() == 1);
}

TEST_CASE("a clock that drifts is moved by what it is off, either way") {
  Guest guest;
  guest.delay = 1ms;
  guest.keeper.begin();
  for (Duration off : {3ms, -3ms}) {
    guest.behind_ns = off.count();
    guest.moves.clear();
    guest.loop.advance(ClockKeeper::kPeriod);
    REQUIRE(guest.moves.size() == 1);
    CHECK(guest.moves[0] == off.count());
  }
}

TEST_CASE("an error that the round trip explains is no reason to move the clock") {
  Guest guest;
  guest.delay = 400ms;
  guest.behind_ns = Duration(201ms).count();
  guest.keeper.begin();
  guest.loop.advance(30s);
  CHECK(guest.moves.empty());
  guest.behind_ns = Duration(203ms).count();
  guest.loop.advance(ClockKeeper::kPeriod);
  CHECK(guest.moves.size() == 1);
}

TEST_CASE("after a stop the guest's clock is right as soon as it goes on") {
  Guest guest;
  guest.delay = 1ms;
  guest.keeper.begin();
  guest.loop.advance(ClockKeeper::kPeriod - 1ms);
  // The next Ping is answered an hour later, by a clock that stood still meanwhile.
  guest.delay = 1h;
  guest.loop.advance(2ms);
  guest.behind_ns = Duration(1h).count();
  guest.delay = 1ms;
  guest.loop.advance(1h);
  guest.loop.advance(10ms);
  REQUIRE(guest.moves.size() == 1);
  CHECK(guest.moves[0] == Duration(1h).count());
}

TEST_CASE("a guest that is always slow is asked three times in a row, and then each period") {
  Guest guest;
  guest.delay = 2s;
  guest.keeper.begin();
  guest.loop.advance(6s + ClockKeeper::kPeriod - 1ms);
  CHECK(guest.count("Ping") == 3);
  guest.loop.advance(1ms);
  CHECK(guest.count("Ping") == 4);
}

TEST_CASE("an agent that may not set the clock is asked once") {
  Guest guest;
  guest.may_be_set = false;
  guest.behind_ns = Duration(500s).count();
  guest.keeper.begin();
  guest.loop.advance(60s);
  CHECK(guest.count("SetTime") == 1);
  CHECK(guest.keeper.offset_ns() == Duration(500s).count());
  guest.keeper.begin();
  guest.loop.advance(1s);
  CHECK(guest.count("SetTime") == 2);
}

TEST_CASE("nothing is asked once the connection has gone") {
  Guest guest;
  guest.keeper.begin();
  guest.loop.advance(1s);
  guest.keeper.stop();
  auto before = guest.calls.size();
  guest.loop.advance(60s);
  CHECK(guest.calls.size() == before);
  CHECK_FALSE(guest.keeper.offset_ns());
}

TEST_CASE("an answer that is none of ours ends it and harms nobody") {
  test::VirtualLoop loop;
  ClockKeeper::OnAnswer answer;
  ClockKeeper keeper(loop, [&](std::string_view method, ConstBytes, auto on_answer) {
    if (method == "Ping") answer = std::move(on_answer);
  });
  keeper.begin();
  SECTION("not a message") {
    answer(std::vector<std::uint8_t>{0xFF, 0xFF});
  }
  SECTION("no clock") {
    answer(ConstBytes());
  }
  SECTION("an error") {
    answer(std::nullopt);
  }
  CHECK_FALSE(keeper.offset_ns());
}

}  // namespace
}  // namespace sluice::hostd
