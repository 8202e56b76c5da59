#include "policy/flight.h"
#include "wire/http2_frames.h"

namespace sluice::policy {
namespace {

using namespace testing::http2;
using State = FirstFlight::State;

constexpr std::size_t kPreface = wire::Http2RequestReader::kPreface.size();

/// What a server sends first.
Message settings() {
  return frame(kSettings, 0, 0, {0, 3, 0, 0, 0, 100});
}

std::string upgrade_to_h2c() {
  return "GET / HTTP/1.1\r\nHost: good.test\r\nConnection: Upgrade, HTTP2-Settings\r\n"
         "Upgrade: h2c\r\nHTTP2-Settings: \r\n\r\n";
}

/// The types of a server's frames, and all their payloads in one.
struct Told {
  explicit Told(const Message& bytes) {
    for (std::size_t at = 0; at + 9 <= bytes.size();) {
      std::size_t size = load_be16(&bytes[at + 1]);
      types.push_back(bytes[at + 3]);
      at += 9;
      REQUIRE(at + size <= bytes.size());
      text.append(reinterpret_cast<const char*>(&bytes[at]), size);
      at += size;
    }
  }
  std::vector<int> types;
  std::string text;
};

TEST_CASE("an HTTP/2 request passes once its name is allowed and the server speaks HTTP/2") {
  Connection c;
  Message request = begin() + get(1, "good.test");
  c.say(request);
  CHECK(c.names == std::vector<std::string>{"good.test"});
  CHECK(c.flight.released() == kPreface);
  CHECK(c.flight.awaits_server());
  CHECK_FALSE(c.flight.is_waiting());
  c.flight.server_spoke(settings());
  CHECK(c.flight.released() == request.size());
  CHECK_FALSE(c.flight.awaits_server());
}

TEST_CASE("where its server is to be found, not even the preface passes before its name") {
  Connection c({.allowed_name = AllowedName::awaits_server});
  Message first = begin(), request = get(1, "good.test");
  c.say(first);
  CHECK(c.flight.released() == 0);
  CHECK(c.flight.is_waiting());
  c.say(request);
  REQUIRE(c.flight.unconfirmed());
  CHECK(c.flight.released() == 0);
  c.flight.confirm();
  CHECK(c.flight.released() == kPreface);
  c.flight.server_spoke(settings());
  CHECK(c.flight.released() == first.size() + request.size());
}

TEST_CASE("a server that has sent its SETTINGS before anything is known to speak HTTP/2") {
  Connection c;
  Message first = settings();
  for (std::uint8_t byte : first) c.flight.server_spoke(Message{byte});
  Message request = begin() + get(1, "good.test");
  c.say(request);
  CHECK(c.flight.released() == request.size());
}

TEST_CASE("a server that answers the preface by HTTP/1 never sees a frame") {
  for (const Message& answer :
       {message_of("HTTP/1.1 400 Bad Request\r\n\r\n"), frame(kSettings, kAck, 0),
        frame(kPing, 0, 0, Message(8, 0)), frame(kSettings, 0, 1, Message(6, 0))}) {
    Connection c;
    c.say(begin());
    c.flight.server_spoke(answer);
    c.say(frame(0xfe, 0, 0, message_of("\r\nGET / HTTP/1.1\r\nHost: bad.test\r\n\r\n")));
    CHECK(c.flight.released() == kPreface);
    CHECK(c.flight.awaits_server());
  }
}

TEST_CASE("every request of an HTTP/2 connection is judged, and none of a refused one passes") {
  Connection c;
  c.flight.server_spoke(settings());
  Message good = begin() + get(1, "good.test") + headers(3, get_block("good.test"), kEndHeaders) +
                 frame(kData, 0, 3, Message(100, 'x'));
  c.say(good);
  REQUIRE(c.flight.released() == good.size());
  c.say(get(5, "bad.test"));
  CHECK(c.flight.state() == State::denied);
  CHECK(c.flight.released() == good.size());
  CHECK(c.flight.denial().name->text() == "bad.test");
  // The server may be in the midst of a frame.
  CHECK(c.flight.reply().empty());
  CHECK(c.names == std::vector<std::string>{"good.test", "good.test", "bad.test"});
}

TEST_CASE("a first HTTP/2 request for another host is answered 403 with the reason") {
  Connection c;
  c.say(begin() + get(1, "bad.test"));
  CHECK(c.flight.state() == State::denied);
  CHECK(c.flight.released() == kPreface);
  Told told(c.flight.reply());
  CHECK(told.types == std::vector<int>{kSettings, kHeaders, kData, kGoaway});
  CHECK(told.text.find("403") != std::string::npos);
  CHECK(told.text.find("bad.test: a rule denies this name") != std::string::npos);
}

TEST_CASE("HTTP/2 that can't be read is told to go away, with the reason") {
  Connection c;
  c.say(begin() + get(2, "good.test"));
  CHECK(c.flight.state() == State::denied);
  CHECK_FALSE(c.flight.denial().name);
  Told told(c.flight.reply());
  CHECK(told.types == std::vector<int>{kSettings, kGoaway});
  CHECK(told.text.find("its HTTP/2 can't be read") != std::string::npos);
}

TEST_CASE("the answer comes after what the server has said already") {
  Connection c;
  c.flight.server_spoke(settings() + frame(kWindowUpdate, 0, 0, be32(1000)));
  c.say(begin() + get(1, "bad.test"));
  CHECK(c.flight.state() == State::denied);
  CHECK(Told(c.flight.reply()).types == std::vector<int>{kHeaders, kData, kGoaway});
}

TEST_CASE("what the server has begun to say is not cut by an answer of the gateway's") {
  Message said = settings() + frame(kPing, 0, 0, Message(8, 0));
  for (std::size_t size = 1; size <= said.size(); ++size) {
    Connection c;
    c.flight.server_spoke(ConstBytes(said).first(size));
    c.say(begin() + get(1, "bad.test"));
    CHECK(c.flight.state() == State::denied);
    bool is_between = size == settings().size() || size == said.size();
    CHECK(c.flight.reply().empty() != is_between);
  }
  Connection unseen;
  unseen.flight.server_spoke(settings(), 20);
  unseen.say(begin() + get(1, "bad.test"));
  CHECK(unseen.flight.reply().empty());
  Connection http1;
  http1.flight.server_spoke(message_of("HTTP/1.1 408 Request Timeout\r\n\r\n"));
  http1.say(begin() + get(1, "bad.test"));
  CHECK(http1.flight.reply().empty());
}

TEST_CASE("HTTP/2 without a name, and tunnels in it, are unidentified") {
  for (const Message& block :
       {get_fields(), get_block("192.0.2.1"),
        testing::http2::block({{":method", "CONNECT"}, {":authority", "good.test:443"}})}) {
    Connection strict;
    strict.say(begin() + headers(1, block));
    CHECK(strict.flight.state() == State::denied);
    CHECK_FALSE(strict.flight.denial().name);
    Connection lax({.unidentified = Unidentified::allow_if_bound});
    lax.say(begin() + headers(1, block));
    CHECK(lax.flight.state() == State::open);
  }
}

TEST_CASE("the names of all requests on an HTTP/2 connection are known, and bounded") {
  FirstFlight flight({},
                     [](const DomainName&) { return Verdict{Action::allow, 1, Basis::name_rule}; });
  flight.feed(begin());
  for (std::uint32_t i = 0; i < 32; ++i) {
    std::string name = "n" + std::to_string(i) + ".test";
    flight.feed(get(4 * i + 1, name));
    flight.feed(get(4 * i + 3, name));
    CHECK(flight.names().size() == i + 1);
  }
  CHECK(flight.state() == State::reading);
  flight.feed(get(999, "one-more.test"));
  CHECK(flight.state() == State::denied);
}

TEST_CASE("an HTTP/2 header block that is not completed is waited for, and then refused") {
  Connection c;
  c.flight.server_spoke(settings());
  c.say(begin() + headers(1, get_fields(), kEndStream));
  CHECK(c.flight.is_waiting());
  c.flight.give_up("it took too long");
  CHECK(c.flight.state() == State::denied);
  Connection idle;
  idle.say(begin());
  idle.flight.give_up("it took too long");
  CHECK(idle.flight.state() == State::reading);
}

TEST_CASE("after an upgrade to h2c that the server took, HTTP/2 is read") {
  Connection c;
  std::string upgrade = upgrade_to_h2c();
  Message more = begin() + get(3, "good.test");
  CHECK(c.say(message_of(upgrade) + more) == upgrade.size());
  CHECK(c.flight.released() == upgrade.size());
  CHECK(c.flight.awaits_server());
  c.flight.server_spoke(message_of("HTTP/1.1 101 Switching Protocols\r\n\r\n"));
  CHECK(c.say(more) == more.size());
  CHECK(c.flight.released() == upgrade.size() + more.size());
  c.say(get(5, "bad.test"));
  CHECK(c.flight.state() == State::denied);
  CHECK(c.names == std::vector<std::string>{"good.test", "good.test", "bad.test"});
}

TEST_CASE("a server that did not take an upgrade to h2c is judged by HTTP/1 on") {
  Connection c;
  c.say(upgrade_to_h2c());
  c.flight.server_spoke(message_of("HTTP/1.1 200 OK\r\n"));
  std::string next = http_get("good.test");
  c.say(next);
  CHECK(c.flight.released() == upgrade_to_h2c().size() + next.size());
  c.say(begin());
  CHECK(c.flight.state() == State::denied);
}

TEST_CASE("any split of an HTTP/2 first flight comes to the same") {
  for (const Message& bytes :
       {begin() + get(1, "good.test") + get(3, "good.test"), begin() + get(1, "bad.test"),
        begin() + get(1, "good.test") + get(3, "bad.test"), begin() + get(2, "good.test")}) {
    check_every_split(bytes);
  }
}

}  // namespace
}  // namespace sluice::policy
