#include "policy/first_flight.h"

#include "policy/flight.h"

namespace sluice::policy {
namespace {

using State = FirstFlight::State;

Message tls(std::string_view name, const Message& more = {}) {
  return testing::record(22, testing::hello_message(name, more));
}

TEST_CASE("a TLS hello for an allowed name passes, whole") {
  Connection c;
  Message hello = tls("good.test");
  c.say(hello);
  CHECK(c.flight.state() != State::denied);
  CHECK(c.flight.released() == hello.size());
}

TEST_CASE("no byte of a TLS hello passes before all of it has been judged") {
  Message hello = testing::records(testing::hello_message("good.test"), 20);
  Connection c;
  for (std::size_t i = 0; i + 1 < hello.size(); ++i) {
    REQUIRE(c.say(Message{hello[i]}) == 1);
    REQUIRE(c.flight.released() == 0);
    REQUIRE(c.flight.is_waiting());
  }
  c.say(Message{hello.back()});
  CHECK(c.flight.released() == hello.size());
  CHECK_FALSE(c.flight.is_waiting());
}

TEST_CASE("a TLS hello for another name is denied with an alert, and nothing of it passes") {
  for (std::string_view name : {"bad.test", "other.test"}) {
    Connection c;
    c.say(tls(name));
    CHECK(c.flight.state() == State::denied);
    CHECK(c.flight.released() == 0);
    CHECK(c.flight.denial().name->text() == name);
    CHECK(c.flight.reply() == Message{21, 3, 3, 0, 2, 2, 49});
  }
}

TEST_CASE("the rule that denied a name is told") {
  Connection c;
  c.say(tls("bad.test"));
  REQUIRE(c.flight.denial().verdict);
  CHECK(c.flight.denial().verdict->rule == 3);
}

TEST_CASE("a second hello after HelloRetryRequest is judged like the first") {
  Connection c;
  Message first = tls("good.test"), second = tls("bad.test");
  c.say(first);
  REQUIRE(c.flight.released() == first.size());
  c.say(second);
  CHECK(c.flight.state() == State::denied);
  CHECK(c.flight.released() == first.size());
}

TEST_CASE("TLS that names no server is unidentified: denied, or the binding decides") {
  Message hello = testing::record(22, testing::handshake(1, testing::hello_body(testing::tls13())));
  Connection strict;
  strict.say(hello);
  CHECK(strict.flight.state() == State::denied);
  CHECK_FALSE(strict.flight.denial().name);
  Connection lax({.unidentified = Unidentified::allow_if_bound});
  lax.say(hello);
  CHECK(lax.flight.state() == State::open);
}

TEST_CASE("a hello that may hide its name is denied unless the operator lets it") {
  Message ech = testing::extension(0xfe0d, Message(40, 1));
  Connection strict({.unidentified = Unidentified::allow_if_bound});
  strict.say(tls("good.test", ech));
  CHECK(strict.flight.state() == State::denied);
  Connection lax({.encrypted_hello = EncryptedHello::allow});
  lax.say(tls("good.test", ech));
  CHECK(lax.flight.state() != State::denied);
  Connection other({.encrypted_hello = EncryptedHello::allow});
  other.say(tls("bad.test", ech));
  CHECK(other.flight.state() == State::denied);
}

TEST_CASE("an HTTP request passes once its head names an allowed host") {
  Connection c;
  std::string request = http_get("good.test");
  for (std::size_t i = 0; i + 1 < request.size(); ++i) {
    c.say(request.substr(i, 1));
    REQUIRE(c.flight.released() == 0);
  }
  c.say(request.substr(request.size() - 1));
  CHECK(c.flight.released() == request.size());
}

TEST_CASE("an HTTP request for another host is answered 403 with the reason") {
  Connection c;
  c.say(http_get("bad.test"));
  CHECK(c.flight.state() == State::denied);
  CHECK(c.flight.released() == 0);
  CHECK(c.reply().starts_with("HTTP/1.1 403 Forbidden\r\n"));
  CHECK(c.reply().find("bad.test: a rule denies this name") != std::string::npos);
}

TEST_CASE("every request of an HTTP connection is judged") {
  Connection c;
  std::string first = http_get("good.test");
  c.say(first + http_get("good.test"));
  REQUIRE(c.flight.released() == 2 * first.size());
  c.say(http_get("bad.test"));
  CHECK(c.flight.state() == State::denied);
  CHECK(c.flight.released() == 2 * first.size());
  // The server may be answering: a 403 in the midst of that would be nonsense.
  CHECK(c.flight.reply().empty());
  CHECK(c.names == std::vector<std::string>{"good.test", "good.test", "bad.test"});
}

TEST_CASE("a request that is hidden in another's body is no request") {
  Connection c;
  std::string body = http_get("bad.test");
  std::string request =
      "POST / HTTP/1.1\r\nHost: good.test\r\nContent-Length: " + std::to_string(body.size()) +
      "\r\n\r\n" + body;
  c.say(request);
  CHECK(c.flight.released() == request.size());
  CHECK(c.flight.state() != State::denied);
}

TEST_CASE("tunnels, addresses as hosts and smuggled heads are unidentified") {
  for (std::string_view text : {
           "CONNECT good.test:443 HTTP/1.1\r\nHost: good.test:443\r\n\r\n",
           "GET / HTTP/1.1\r\nHost: 192.0.2.1\r\n\r\n",
           "GET / HTTP/1.0\r\n\r\n",
           "GET / HTTP/1.1\r\nHost: good.test\r\nHost: bad.test\r\n\r\n",
           "GET http://bad.test/ HTTP/1.1\r\nHost: good.test\r\n\r\n",
           "GET / HTTP/1.1\nHost: good.test\n\n",
       }) {
    INFO(text);
    Connection c;
    c.say(text);
    CHECK(c.flight.state() == State::denied);
    CHECK_FALSE(c.flight.denial().name);
    CHECK(c.flight.released() == 0);
  }
}

TEST_CASE("what is neither TLS nor HTTP passes at once") {
  for (std::string_view text : {"\x01\x02", "\x16\x99", "\x80\x05 and binary"}) {
    Connection c;
    Message bytes = message_of(text);
    c.say(bytes);
    INFO(text.size());
    CHECK(c.flight.state() == State::open);
    CHECK(c.flight.released() >= bytes.size());
  }
  Connection lines;
  lines.say("SSH-2.0-client\r\n");
  CHECK(lines.flight.state() == State::open);
}

TEST_CASE("after a WebSocket upgrade everything passes once the server has agreed") {
  std::string upgrade =
      "GET /chat HTTP/1.1\r\nHost: good.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
  Connection c;
  CHECK(c.say(upgrade + "\x81\x02hi") == upgrade.size());
  CHECK(c.flight.released() == upgrade.size());
  c.flight.server_spoke(message_of("HTTP/1.1 "));
  CHECK(c.flight.state() == State::reading);
  c.flight.server_spoke(message_of("101 Switching Protocols\r\n\r\n"));
  CHECK(c.flight.state() == State::open);
}

TEST_CASE("a server that does not switch leaves an HTTP connection that is judged on") {
  std::string upgrade =
      "GET /chat HTTP/1.1\r\nHost: good.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
  Connection c;
  c.say(upgrade);
  c.flight.server_spoke(message_of("HTTP/1.1 200 OK\r\n"));
  c.say(http_get("bad.test"));
  CHECK(c.flight.state() == State::denied);
}

TEST_CASE("only the first request's upgrade counts: a later one's answer can't be told apart") {
  std::string upgrade =
      "GET /chat HTTP/1.1\r\nHost: good.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
  Connection c;
  c.say(http_get("good.test"));
  c.flight.server_spoke(message_of("HTTP/1.1 101 Switching Protocols\r\n\r\n"));
  c.say(upgrade + http_get("bad.test"));
  CHECK(c.flight.state() == State::denied);
}

TEST_CASE("a guest that never completes its first flight is unidentified") {
  Connection nothing;
  nothing.flight.give_up("it took too long");
  CHECK(nothing.flight.state() == State::reading);
  Connection part;
  part.say("GET / HT");
  part.flight.give_up("it took too long");
  CHECK(part.flight.state() == State::denied);
  CHECK(part.flight.denial().reason == "it took too long");
  Connection lax({.unidentified = Unidentified::allow_if_bound});
  lax.say("GET / HT");
  lax.flight.give_up("it took too long");
  CHECK(lax.flight.state() == State::open);
}

TEST_CASE("where the server has spoken a refused request is answered by nothing of ours") {
  Connection c;
  c.flight.server_spoke(message_of("hello?"));
  c.say(http_get("bad.test"));
  CHECK(c.flight.state() == State::denied);
  CHECK(c.flight.reply().empty());
}

TEST_CASE("an allowed name waits for its server, and nothing that comes with it passes") {
  Connection c({.allowed_name = AllowedName::awaits_server});
  std::string request = http_get("good.test");
  CHECK(c.say(request + request) == request.size());
  REQUIRE(c.flight.unconfirmed());
  CHECK(c.flight.unconfirmed()->text() == "good.test");
  CHECK(c.flight.released() == 0);
  CHECK(c.say(request) == 0);
  // Nothing is missing that the guest could complete.
  CHECK_FALSE(c.flight.is_waiting());
  c.flight.give_up("it took too long");
  CHECK(c.flight.state() == State::reading);

  SECTION("that is found") {
    c.flight.confirm();
    CHECK(c.flight.released() == request.size());
    CHECK(c.flight.names().size() == 1);
    CHECK(c.say(request) == request.size());
    CHECK(c.flight.released() == 2 * request.size());
    CHECK_FALSE(c.flight.unconfirmed());
  }
  SECTION("or is not") {
    c.flight.refuse("it is nowhere", "resolve-and-dial");
    CHECK(c.flight.state() == State::denied);
    CHECK(c.flight.denial().name->text() == "good.test");
    CHECK(c.flight.denial().decider == "resolve-and-dial");
    CHECK(c.reply().find("good.test: it is nowhere") != std::string::npos);
  }
}

TEST_CASE("a hello waits for its server whatever the split, and its second is for the same one") {
  Message hello = tls("good.test");
  Connection c({.allowed_name = AllowedName::awaits_server});
  for (std::uint8_t byte : hello) REQUIRE(c.say(Message{byte}) == 1);
  REQUIRE(c.flight.unconfirmed());
  CHECK(c.flight.released() == 0);
  c.flight.confirm();
  CHECK(c.flight.released() == hello.size());
  c.say(hello);
  CHECK(c.flight.released() == 2 * hello.size());
  CHECK_FALSE(c.flight.unconfirmed());
}

TEST_CASE("any split of a first flight comes to the same") {
  for (const Message& bytes :
       {tls("good.test"), tls("bad.test"), message_of(http_get("good.test") + http_get("bad.test")),
        message_of("\x16\x03ZZZZZZZZ"), message_of("GET / HTTP/1.1\r\nHost: x y\r\n\r\n")}) {
    check_every_split(bytes);
  }
}

}  // namespace
}  // namespace sluice::policy
