#include "dns/tcp_session.h"

#include <catch2/catch.hpp>
#include <set>

#include "dns_world.h"

using namespace sluice;
using namespace sluice::test;
using dns::TcpSession;
using dns::Transport;
using wire::DnsMessage;
using wire::DnsRcode;
using wire::DnsType;

namespace {

std::string framed(const Message& message) {
  std::string prefix{static_cast<char>(message.size() >> 8), static_cast<char>(message.size())};
  return prefix + to_text(message);
}

/// The relay's end of a session.
struct Relay : SocketHandler {
  explicit Relay(DnsWorld& world)
      : loop(world.loop),
        socket(
            world.service->open_session({1, endpoint("10.0.0.2:40000"), endpoint("10.0.0.1:53")})) {
    socket->set_handler(this);
    loop.run_ready();
  }
  void on_socket_ready(SocketReady ready) override {
    ++notices;
    writable = writable || ready.writable;
    readable = readable || ready.readable;
  }
  IoResult send(std::string_view bytes) {
    iovec piece{const_cast<char*>(bytes.data()), bytes.size()};
    auto result = socket->send({&piece, 1});
    loop.run_ready();
    return result;
  }
  /// All that there is now. Notes the end of the stream.
  std::string receive(std::size_t limit = 1 << 20) {
    std::string all;
    while (all.size() < limit) {
      char bytes[1000];
      iovec piece{bytes, std::min(sizeof bytes, limit - all.size())};
      auto result = socket->receive({&piece, 1});
      if (result.would_block()) break;
      REQUIRE(result.ok());
      ended = result.bytes == 0;
      if (ended) break;
      all.append(bytes, result.bytes);
    }
    loop.run_ready();
    return all;
  }
  std::vector<Seen> replies() {
    unparsed += receive();
    std::vector<Seen> all;
    while (unparsed.size() >= 2) {
      std::size_t size = load_be16(reinterpret_cast<const std::uint8_t*>(unparsed.data()));
      if (unparsed.size() - 2 < size) break;
      all.push_back(look_at(Message(unparsed.begin() + 2, unparsed.begin() + 2 + long(size))));
      unparsed.erase(0, 2 + size);
    }
    return all;
  }

  VirtualLoop& loop;
  std::unique_ptr<StreamSocket> socket;
  std::string unparsed;
  int notices = 0;
  bool readable = false;
  bool writable = false;
  bool ended = false;
};

std::string query(std::string_view name, std::uint16_t id) {
  return framed(make_query(name, DnsType::a, {.id = id}));
}

}  // namespace

TEST_CASE("a session looks like a connected socket of the server that was asked") {
  DnsWorld world;
  Relay relay(world);
  CHECK(relay.writable);
  CHECK_FALSE(relay.readable);
  CHECK(relay.socket->connect_result() == 0);
  CHECK(relay.socket->peer() == endpoint("10.0.0.1:53"));
  CHECK(relay.socket->local() == endpoint("10.0.0.2:40000"));
  CHECK(relay.receive().empty());
  CHECK_FALSE(relay.ended);
}

TEST_CASE("queries may come in any pieces") {
  DnsWorld world;
  world.add_upstream("192.0.2.1:53", resolver_with("198.51.100.1"));
  Relay relay(world);
  std::string bytes = query("a.example", 1) + query("b.example", 2);
  auto piece = GENERATE(1u, 2u, 3u, 20u, 1000u);
  for (std::size_t at = 0; at < bytes.size(); at += piece) relay.send(bytes.substr(at, piece));
  CHECK(relay.readable);
  auto replies = relay.replies();
  REQUIRE(replies.size() == 2);
  CHECK(replies[0].header.id == 1);
  CHECK(replies[1].header.id == 2);
}

TEST_CASE("pipelined queries are answered in the order in which answers come") {
  DnsWorld world;
  std::map<std::string, Message> answers;
  world.add_upstream("192.0.2.1:53", [&](const DnsMessage& query, Transport) {
    auto name = query.questions()[0].name.lowered().to_string();
    answers[name] = ReplyBuilder(query).address(name, "198.51.100.1").build();
    return std::nullopt;
  });
  Relay relay(world);
  relay.send(query("a.example", 1) + query("b.example", 2));
  world.net.datagrams[1]->feed(endpoint("192.0.2.1:53"), to_text(answers["b.example"]));
  world.loop.run_ready();
  auto first = relay.replies();
  REQUIRE(first.size() == 1);
  CHECK(first[0].header.id == 2);
  world.net.datagrams[0]->feed(endpoint("192.0.2.1:53"), to_text(answers["a.example"]));
  world.loop.run_ready();
  auto second = relay.replies();
  REQUIRE(second.size() == 1);
  CHECK(second[0].header.id == 1);
}

TEST_CASE("after the client's FIN the open queries are answered, then the stream ends") {
  DnsWorld world;
  std::optional<Message> answer;
  world.add_upstream("192.0.2.1:53", [&](const DnsMessage& query, Transport) {
    answer = ReplyBuilder(query).address("a.example", "198.51.100.1").build();
    return std::nullopt;
  });
  Relay relay(world);
  relay.send(query("a.example", 1) + "\x01");
  relay.socket->shutdown_send();
  world.loop.run_ready();
  relay.receive();
  CHECK_FALSE(relay.ended);
  relay.readable = false;
  world.net.datagrams[0]->feed(endpoint("192.0.2.1:53"), to_text(*answer));
  world.loop.run_ready();
  CHECK(relay.readable);
  CHECK(relay.replies().size() == 1);
  CHECK(relay.ended);
}

TEST_CASE("a FIN without queries ends the stream at once") {
  DnsWorld world;
  Relay relay(world);
  relay.socket->shutdown_send();
  world.loop.run_ready();
  CHECK(relay.readable);
  relay.receive();
  CHECK(relay.ended);
}

TEST_CASE("a session that is idle for 30 s ends, one that is slow with a query does too") {
  DnsWorld world;
  world.add_upstream("192.0.2.1:53", resolver_with("198.51.100.1"));
  Relay relay(world);
  std::string bytes = query("a.example", 1);
  SECTION("nothing at all") {
    world.loop.advance(30s);
  }
  SECTION("one byte every five seconds") {
    for (int i = 0; i < 6; ++i) {
      relay.send(bytes.substr(static_cast<std::size_t>(i), 1));
      world.loop.advance(5s);
    }
  }
  SECTION("after a query and its answer") {
    world.loop.advance(29s);
    relay.send(bytes);
    CHECK(relay.replies().size() == 1);
    world.loop.advance(29s);
    relay.receive();
    CHECK_FALSE(relay.ended);
    world.loop.advance(1s);
  }
  relay.receive();
  CHECK(relay.ended);
  CHECK(relay.send("x").error == EPIPE);
}

TEST_CASE("a message that is no query ends the session") {
  auto message = GENERATE(Message{}, Message{1, 2, 3}, Message(65535, 0xff));
  DnsWorld world;
  Relay relay(world);
  relay.send(framed(message));
  relay.receive();
  CHECK(relay.ended);
}

TEST_CASE("a client that never reads is held back, and every answer is there when it does") {
  DnsWorld world({.limits = {.data_bytes = 0}});
  world.add_upstream("192.0.2.1:53", [](const DnsMessage& query, Transport) {
    ReplyBuilder reply(query);
    for (int i = 0; i < 100; ++i) reply.text("t.example", std::string(250, 'x'));
    return reply.build();
  });
  Relay relay(world);
  std::string bytes;
  constexpr int kQueries = 4000;
  for (std::uint16_t i = 0; i < kQueries; ++i) {
    bytes += framed(make_query("t.example", DnsType::txt, {.id = i}));
  }
  std::size_t sent = 0;
  int answered = 0;
  std::set<std::uint16_t> ids;
  std::size_t most_unread = 0;
  while (answered < kQueries) {
    relay.writable = false;
    for (;;) {
      auto result = relay.send(std::string_view(bytes).substr(sent));
      sent += result.bytes;
      if (result.would_block() || sent == bytes.size()) break;
    }
    most_unread = std::max(most_unread, relay.socket->pending_bytes());
    auto replies = relay.replies();
    REQUIRE_FALSE(replies.empty());
    for (const auto& reply : replies) {
      CHECK(ids.insert(reply.header.id).second);
      ++answered;
      CHECK(reply.answers.size() == 100);
    }
    if (sent < bytes.size()) CHECK(relay.writable);
  }
  // What was open when the limit was reached still comes, once.
  std::size_t answer_bytes = 27000;
  CHECK(most_unread <= TcpSession::kMaxUnreadBytes + TcpSession::kMaxOpenQueries * answer_bytes);
}

TEST_CASE("a client with 16 queries open is held back until one is answered") {
  DnsWorld world;
  std::vector<Message> answers;
  world.add_upstream("192.0.2.1:53", [&](const DnsMessage& query, Transport) {
    auto name = query.questions()[0].name.lowered().to_string();
    answers.push_back(ReplyBuilder(query).address(name, "198.51.100.1").build());
    return std::nullopt;
  });
  Relay relay(world);
  for (std::uint16_t i = 0; i < 40; ++i) relay.send(query(fmt::format("n{}.example", i), i));
  CHECK(world.asked.size() == 16);
  world.net.datagrams[0]->feed(endpoint("192.0.2.1:53"), to_text(answers[0]));
  world.loop.run_ready();
  CHECK(world.asked.size() == 17);
  CHECK(relay.replies().size() == 1);
}

TEST_CASE("a session that is destroyed with queries open leaves nothing behind") {
  DnsWorld world;
  world.add_upstream("192.0.2.1:53", silent_resolver());
  Relay relay(world);
  relay.send(query("a.example", 1));
  relay.socket.reset();
  world.loop.advance(10s);
  CHECK(world.loop.active_timers() == 0);
  CHECK(world.net.open_datagrams() == 0);
}
