#include "dns/query_sockets.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "dns_world.h"

using namespace sluice;
using namespace sluice::test;
using dns::QuerySockets;
using dns::Transport;
using wire::DnsMessage;
using wire::DnsType;
using Answers = std::vector<std::string>;

namespace {

struct World {
  VirtualLoop loop;
  ScriptedNet net{loop};
  std::uint64_t drawn = 0;
  dns::RandomSource random = [this] { return drawn; };
  QuerySockets sockets{loop, net, random};

  /// Makes `count` sockets wait; their ends.
  std::vector<std::optional<Endpoint>> fill(std::size_t count, Family family = Family::v4) {
    std::vector<QuerySockets::Socket> taken;
    std::vector<std::optional<Endpoint>> ends;
    for (std::size_t i = 0; i < count; ++i) {
      taken.push_back(take(family));
      ends.push_back(taken.back().socket->local());
    }
    for (auto& one : taken) sockets.give_back(std::move(one));
    return ends;
  }
  QuerySockets::Socket take(Family family = Family::v4) {
    auto taken = sockets.take(family);
    REQUIRE(taken);
    return std::move(*taken);
  }
};

}  // namespace

TEST_CASE("where few sockets wait, a question has a new one") {
  World world;
  for (std::size_t i = 1; i <= QuerySockets::kLeastChoice; ++i) {
    world.sockets.give_back(world.take());
    CHECK(world.net.datagrams.size() == i);
  }
  auto reused = world.take();
  CHECK(world.net.datagrams.size() == QuerySockets::kLeastChoice);
  auto fresh = world.take();
  CHECK(world.net.datagrams.size() == QuerySockets::kLeastChoice + 1);
  CHECK(reused.socket->local() != fresh.socket->local());
}

TEST_CASE("of the sockets that wait any may be taken") {
  World world;
  auto ports = world.fill(QuerySockets::kLeastChoice);
  world.drawn = 5;
  auto taken = world.take();
  CHECK(taken.socket->local() == ports[5]);
  CHECK(taken.questions == 2);
  world.sockets.give_back(std::move(taken));
  world.drawn = QuerySockets::kLeastChoice + 7;
  CHECK(world.take().socket->local() == ports[7]);
}

TEST_CASE("a socket asks as many questions as it may and not one more") {
  World world;
  world.fill(QuerySockets::kLeastChoice - 1);
  auto one = world.take();
  auto port = one.socket->local();
  for (int i = 2; i <= QuerySockets::kMostQuestions; ++i) {
    world.sockets.give_back(std::move(one));
    // Given back last, it lies last.
    world.drawn = QuerySockets::kLeastChoice - 1;
    one = world.take();
    REQUIRE(one.socket->local() == port);
  }
  CHECK(one.questions == QuerySockets::kMostQuestions);
  world.sockets.give_back(std::move(one));
  CHECK(world.net.open_datagrams() == QuerySockets::kLeastChoice - 1);
}

TEST_CASE("an old socket is not taken, and none waits for long") {
  World world;
  world.fill(QuerySockets::kLeastChoice);
  world.loop.advance(QuerySockets::kMostAge - 1ms);
  auto used = world.take();
  CHECK(world.net.datagrams.size() == QuerySockets::kLeastChoice);
  world.loop.advance(1ms);
  world.sockets.give_back(std::move(used));
  CHECK(world.net.open_datagrams() == 0);
  CHECK(world.loop.active_timers() == 0);

  world.sockets.give_back(world.take());
  CHECK(world.net.open_datagrams() == 1);
  world.loop.advance(QuerySockets::kMostAge);
  CHECK(world.net.open_datagrams() == 0);
}

TEST_CASE("as many sockets wait as may, of each family") {
  World world;
  world.fill(QuerySockets::kMostIdle + 1);
  world.fill(QuerySockets::kLeastChoice, Family::v6);
  CHECK(world.net.open_datagrams() == QuerySockets::kMostIdle + QuerySockets::kLeastChoice);
  CHECK(world.take(Family::v6).family == Family::v6);
  CHECK(world.net.open_datagrams() == QuerySockets::kMostIdle + QuerySockets::kLeastChoice - 1);
}

TEST_CASE("where the host has no socket any more, one that waits is taken, and then none") {
  World world;
  world.fill(1);
  world.net.udp_status = Status(StatusCode::exhausted, "no descriptor");
  CHECK(world.sockets.take(Family::v4));
  CHECK_FALSE(world.sockets.take(Family::v4));
}

TEST_CASE("a guest that asks much is served from few sockets, those at once from one each") {
  DnsWorld world;
  world.add_upstream("192.0.2.53:53", resolver_with("198.51.100.1"));
  for (int i = 0; i < 100; ++i) world.ask("n" + std::to_string(i) + ".example", DnsType::a);
  CHECK(world.net.datagrams.size() <=
        QuerySockets::kLeastChoice + 100 / QuerySockets::kMostQuestions);
  world.add_resolver("192.0.2.53:53", silent_resolver());
  for (const auto& socket : world.net.datagrams) socket->sent.clear();
  for (int i = 0; i < 40; ++i) world.send("m" + std::to_string(i) + ".example", DnsType::a);
  for (const auto& socket : world.net.datagrams) CHECK(socket->sent.size() <= 1);
}

TEST_CASE("a socket to which more than its answer came asks nothing else") {
  DnsWorld world;
  Message asked;
  world.add_upstream("192.0.2.53:53", [&](const DnsMessage& query, Transport) {
    asked.assign(query.bytes().begin(), query.bytes().end());
    return std::nullopt;
  });
  auto answer_with = [&](bool forged_first, bool twice) {
    auto& socket = *world.net.datagrams.back();
    Message answer =
        ReplyBuilder(*DnsMessage::parse(asked)).address("x.example", "198.51.100.1").build();
    if (forged_first) socket.feed(endpoint("192.0.2.66:53"), to_text(answer));
    socket.feed(endpoint("192.0.2.53:53"), to_text(answer));
    if (twice) socket.feed(endpoint("192.0.2.53:53"), to_text(answer));
    world.loop.run_ready();
    return world.net.open_datagrams();
  };
  world.send("a.example", DnsType::a);
  CHECK(answer_with(true, false) == 0);
  world.send("b.example", DnsType::a);
  CHECK(answer_with(false, true) == 0);
  world.send("c.example", DnsType::a);
  CHECK(answer_with(false, false) == 1);
  CHECK(world.replies.size() == 3);
}

TEST_CASE("an answer that comes twice is not taken for that of the next question") {
  DnsWorld world;
  world.add_upstream("192.0.2.53:53", resolver_with("198.51.100.1"));
  Message late = ReplyBuilder(*DnsMessage::parse(make_query("n1.example", DnsType::a)))
                     .address("n1.example", "203.0.113.66")
                     .build();
  for (std::size_t i = 0; i < 2 * QuerySockets::kLeastChoice; ++i) {
    std::string name = "n" + std::to_string(i) + ".example";
    CHECK(world.ask(name, DnsType::a).answers == Answers{name + " 1 198.51.100.1"});
    for (const auto& socket : world.net.datagrams) {
      if (!socket->closed()) socket->feed(endpoint("192.0.2.53:53"), to_text(late));
    }
  }
  // Whatever comes to one that waits closes it.
  CHECK(world.net.datagrams.size() == 2 * QuerySockets::kLeastChoice);
}
