#include <catch2/catch.hpp>

#include "dns_world.h"

using namespace sluice;
using namespace sluice::test;
using dns::Transport;
using wire::DnsMessage;
using wire::DnsRcode;
using wire::DnsType;
using Answers = std::vector<std::string>;

namespace {

constexpr std::string_view kUpstream = "192.0.2.1:53";
const Answers kTrue{"a.example 1 198.51.100.1"};

/// Feeds the one open socket `forged` and then the true answer; what the client sees.
Seen with_forgery(const std::function<void(DatagramPeer&, const DnsMessage& query)>& forge,
                  int copies = 1) {
  DnsWorld world;
  Message query_bytes;
  world.add_upstream(kUpstream, [&](const DnsMessage& query, Transport transport) {
    query_bytes.assign(query.bytes().begin(), query.bytes().end());
    auto truth = ReplyBuilder(query).address("a.example", "198.51.100.1").build();
    return transport == Transport::tcp ? std::optional(truth) : std::nullopt;
  });
  world.send("a.example", DnsType::a);
  auto query = DnsMessage::parse(query_bytes);
  auto& socket = *world.net.datagrams.at(0);
  for (int i = 0; i < copies; ++i) forge(socket, *query);
  auto truth = ReplyBuilder(*query).address("a.example", "198.51.100.1").build();
  if (!socket.closed()) socket.feed(endpoint(kUpstream), to_text(truth));
  world.loop.run_ready();
  REQUIRE(world.replies.size() == 1);
  CHECK(world.net.open_datagrams() == 0);
  return look_at(world.replies[0]);
}

Message lie_to(const DnsMessage& query) {
  return ReplyBuilder(query).address("a.example", "203.0.113.66").build();
}

}  // namespace

TEST_CASE("a forged reply is not believed") {
  auto from = endpoint(kUpstream);
  SECTION("from another address") {
    CHECK(with_forgery([&](DatagramPeer& socket, const DnsMessage& query) {
            socket.feed(endpoint("192.0.2.2:53"), to_text(lie_to(query)));
          }).answers == kTrue);
  }
  SECTION("from another port") {
    CHECK(with_forgery([&](DatagramPeer& socket, const DnsMessage& query) {
            socket.feed(endpoint("192.0.2.1:5353"), to_text(lie_to(query)));
          }).answers == kTrue);
  }
  SECTION("with another id") {
    CHECK(with_forgery([&](DatagramPeer& socket, const DnsMessage& query) {
            auto lie = lie_to(query);
            lie[0] ^= 1;
            socket.feed(from, to_text(lie));
          }).answers == kTrue);
  }
  SECTION("with another name in the question") {
    CHECK(with_forgery([&](DatagramPeer& socket, const DnsMessage& query) {
            socket.feed(from, to_text(ReplyBuilder(query)
                                          .question({wire_name("b.example"), DnsType::a})
                                          .address("a.example", "203.0.113.66")
                                          .build()));
          }).answers == kTrue);
  }
  SECTION("with another type in the question") {
    CHECK(with_forgery([&](DatagramPeer& socket, const DnsMessage& query) {
            auto question = query.questions()[0];
            question.type = DnsType::aaaa;
            socket.feed(from, to_text(ReplyBuilder(query)
                                          .question(question)
                                          .address("a.example", "203.0.113.66")
                                          .build()));
          }).answers == kTrue);
  }
  SECTION("that is a query") {
    CHECK(with_forgery([&](DatagramPeer& socket, const DnsMessage& query) {
            auto lie = lie_to(query);
            lie[2] &= 0x7f;
            socket.feed(from, to_text(lie));
          }).answers == kTrue);
  }
  SECTION("cut off anywhere") {
    CHECK(with_forgery([&](DatagramPeer& socket, const DnsMessage& query) {
            auto lie = to_text(lie_to(query));
            for (std::size_t size = 0; size < 15; ++size) socket.feed(from, lie.substr(0, size));
          }).answers == kTrue);
  }
  SECTION("in such numbers that only a TCP handshake can tell") {
    CHECK(with_forgery(
              [&](DatagramPeer& socket, const DnsMessage& query) {
                auto lie = lie_to(query);
                lie[0] ^= 1;
                socket.feed(from, to_text(lie));
              },
              40)
              .answers == kTrue);
  }
}

TEST_CASE("a reply that lost the case of the question is asked for again over TCP") {
  auto seen = with_forgery([](DatagramPeer& socket, const DnsMessage& query) {
    auto question = query.questions()[0];
    question.name = question.name.with_case(0x5555 ^ question.name.wire()[1]);
    socket.feed(
        endpoint(kUpstream),
        to_text(
            ReplyBuilder(query).question(question).address("a.example", "203.0.113.66").build()));
  });
  CHECK(seen.answers == kTrue);
}

TEST_CASE("alias loops and chains above 16 are no answers, 16 aliases are one") {
  auto aliases = GENERATE(1, 16, 17, 100);
  DnsWorld world;
  world.add_upstream(kUpstream, [&](const DnsMessage& query, Transport) {
    ReplyBuilder reply(query);
    for (int i = aliases; i > 0; --i) {
      reply.alias(fmt::format("n{}.example", i), fmt::format("n{}.example", i - 1));
    }
    return reply.address("n0.example", "198.51.100.1").build();
  });
  auto seen = world.ask(fmt::format("n{}.example", aliases), DnsType::a);
  if (aliases <= 16) {
    CHECK(seen.answers.size() == static_cast<std::size_t>(aliases) + 1);
  } else {
    CHECK(seen.rcode == DnsRcode::server_failure);
  }
}

TEST_CASE("an alias loop is SERVFAIL") {
  DnsWorld world;
  world.add_upstream(kUpstream, [](const DnsMessage& query, Transport) {
    return ReplyBuilder(query)
        .alias("a.example", "b.example")
        .alias("b.example", "a.example")
        .build();
  });
  CHECK(world.ask("a.example", DnsType::a).rcode == DnsRcode::server_failure);
}

TEST_CASE("records of names that were not asked reach neither the client nor the cache") {
  DnsWorld world;
  world.add_upstream(kUpstream, [](const DnsMessage& query, Transport) {
    auto name = query.questions()[0].name.lowered().to_string();
    return ReplyBuilder(query)
        .address(name, "198.51.100.1")
        .address("bank.example", "203.0.113.66")
        .soa("bank.example", 9999, 9999)
        .build();
  });
  auto seen = world.ask("a.example", DnsType::a);
  CHECK(seen.answers == kTrue);
  CHECK_FALSE(seen.soa_owner);
  CHECK(world.ask("bank.example", DnsType::a).answers ==
        Answers{"bank.example 1 198.51.100.1", "bank.example 1 203.0.113.66"});
}

TEST_CASE("an upstream that talks nonsense over TCP counts as failed, whatever it says") {
  struct Row {
    const char* what;
    std::string bytes;
  };
  auto row = GENERATE(values<Row>({{"empty message", std::string("\0\0", 2)},
                                   {"too short", std::string("\0\4abcd", 6)},
                                   {"longest of zeros", "\xff\xff" + std::string(65535, '\0')},
                                   {"promised and ended", std::string("\1\0", 2)},
                                   {"nothing", ""}}));
  INFO(row.what);
  DnsWorld world;
  world.add_upstream(kUpstream, [](const DnsMessage& query, Transport transport) {
    return transport == Transport::udp ? std::optional(ReplyBuilder(query).truncated().build())
                                       : std::nullopt;
  });
  world.send("a.example", DnsType::a);
  REQUIRE(world.net.dials.size() == 1);
  world.net.dials[0]->feed(row.bytes);
  world.net.dials[0]->feed_end();
  world.loop.run_ready();
  REQUIRE(world.replies.size() == 1);
  CHECK(look_at(world.replies[0]).rcode == DnsRcode::server_failure);
  CHECK(world.net.open_streams() == 0);
}

TEST_CASE("an upstream that accepts TCP and then stalls costs no more than the deadline") {
  DnsWorld world;
  world.add_upstream(kUpstream, [](const DnsMessage& query, Transport transport) {
    return transport == Transport::udp ? std::optional(ReplyBuilder(query).truncated().build())
                                       : std::nullopt;
  });
  world.send("a.example", DnsType::a);
  world.net.dials[0]->feed(std::string("\1\0abc", 5));
  world.loop.advance(4500ms);
  REQUIRE(world.replies.size() == 1);
  CHECK(look_at(world.replies[0]).rcode == DnsRcode::server_failure);
  CHECK(world.net.open_streams() == 0);
}

TEST_CASE("a TCP answer may come in any pieces, and the question may go in any") {
  DnsWorld world;
  std::optional<Message> answer;
  world.add_upstream(kUpstream, [&](const DnsMessage& query, Transport transport) {
    if (transport == Transport::udp) return std::optional(ReplyBuilder(query).truncated().build());
    answer = ReplyBuilder(query).address("a.example", "198.51.100.1").build();
    return std::optional<Message>();
  });
  auto script = world.net.on_dial;
  world.net.on_dial = [&](StreamPeer& peer) {
    script(peer);
    peer.set_send_room(1);
  };
  world.send("a.example", DnsType::a);
  auto& stream = *world.net.dials.at(0);
  for (int i = 0; i < 100; ++i) {
    stream.set_send_room(1);
    world.loop.run_ready();
  }
  REQUIRE(answer);
  std::string bytes{static_cast<char>(answer->size() >> 8), static_cast<char>(answer->size())};
  bytes += to_text(*answer);
  for (char c : bytes) {
    stream.feed({&c, 1});
    world.loop.run_ready();
  }
  REQUIRE(world.replies.size() == 1);
  CHECK(look_at(world.replies[0]).answers == kTrue);
}
