#include <catch2/catch.hpp>

#include <cerrno>

#include "dns_world.h"
#include "tls_server.h"

using namespace sluice;
using namespace sluice::test;
using wire::DnsMessage;
using wire::DnsRcode;
using wire::DnsType;
using Answers = std::vector<std::string>;

namespace {

const DnsResolver kResolver(endpoint("192.0.2.1:853"), "dot.example");

dns::Options trusting(const TestAuthority& authority) {
  dns::Options options;
  options.tls_trust = *dns::TlsTrust::load(authority.path());
  return options;
}

std::string framed(const Message& message) {
  std::string prefix{static_cast<char>(message.size() >> 8),
                     static_cast<char>(message.size() & 0xff)};
  return prefix + to_text(message);
}

/// A Service whose only resolver is asked over TLS, and that resolver.
struct TlsWorld : DnsWorld {
  explicit TlsWorld(const CertificateFor& certificate = {})
      : TlsWorld(std::make_unique<TestAuthority>(), certificate) {}
  TlsWorld(std::unique_ptr<TestAuthority> made, const CertificateFor& certificate)
      : DnsWorld(trusting(*made)),
        authority(std::move(made)),
        context(authority->issue(certificate)) {
    service->set_upstreams({kResolver});
    net.on_dial = [this](StreamPeer& peer) {
      if (refuses) return peer.refuse(ECONNREFUSED);
      if (is_silent) return;
      ends.push_back(std::make_unique<TlsServerEnd>(context));
      peer.connect();
      if (is_split) peer.set_receive_limit(1);
      peer.on_send = [this, end = ends.back().get()](StreamPeer& from) { serve(from, *end); };
    };
  }

  // What says good-bye to the resolver goes before the resolver.
  ~TlsWorld() { service.reset(); }
  TlsWorld(const TlsWorld&) = delete;
  TlsWorld& operator=(const TlsWorld&) = delete;

  void serve(StreamPeer& peer, TlsServerEnd& end) {
    std::string in = peer.take_sent();
    seen += in;
    peer.feed(end.feed(in));
    while (end.plaintext.size() >= 2) {
      std::size_t length = load_be16(reinterpret_cast<const std::uint8_t*>(end.plaintext.data()));
      if (end.plaintext.size() < 2 + length) return;
      Message query(end.plaintext.begin() + 2,
                    end.plaintext.begin() + 2 + static_cast<std::ptrdiff_t>(length));
      end.plaintext.erase(0, 2 + length);
      queries.push_back(query);
      auto parsed = DnsMessage::parse(query);
      REQUIRE(parsed);
      asked_over_tls.push_back(parsed->questions()[0].name.lowered().to_string());
      last_id = parsed->header().id;
      if (!answers) continue;
      auto reply = ReplyBuilder(*parsed).address(asked_over_tls.back(), "198.51.100.1").build();
      peer.feed(end.send(framed(reply)));
    }
  }

  const dns::Upstreams::State& health() const { return service->upstreams().states().at(0); }
  StreamPeer& latest() { return *net.dials.back(); }

  std::unique_ptr<TestAuthority> authority;
  std::shared_ptr<ssl_ctx_st> context;
  std::vector<std::unique_ptr<TlsServerEnd>> ends;
  Answers asked_over_tls;
  std::vector<Message> queries;
  std::uint16_t last_id = 0;
  std::string seen;  ///< All that came from the Service, as it was on the wire.
  bool refuses = false, is_silent = false, answers = true, is_split = false;
};

}  // namespace

TEST_CASE("a question is asked over TLS, and nothing of it in clear text") {
  TlsWorld world;
  world.is_split = GENERATE(false, true);
  CHECK(world.ask("www.example", DnsType::a).answers == Answers{"www.example 1 198.51.100.1"});
  CHECK(world.asked_over_tls == Answers{"www.example"});
  CHECK(world.net.datagrams.empty());
  CHECK(world.seen[0] == 0x16);
  CHECK(world.seen.find("www") == std::string::npos);
  CHECK(world.health().answers == 1);
}

TEST_CASE("over TLS a query's length tells nothing of its name, in clear text nothing is added") {
  TlsWorld world;
  for (std::size_t size : {1, 40, 60, 62}) {
    world.ask(std::string(size, 'n') + ".example", DnsType::a);
    const Message& query = world.queries.back();
    CHECK(query.size() == 128);
    // The last of the OPT is its padding: code 12, a length, zeros (RFC 7830 section 3).
    std::size_t zeros = 128 - (12 + (1 + size + 9 + 4) + 11 + 4);
    Message padding{0, 12, 0, static_cast<std::uint8_t>(zeros)};
    padding.resize(4 + zeros);
    CHECK(Message(query.end() - static_cast<std::ptrdiff_t>(4 + zeros), query.end()) == padding);
  }
  std::string label(60, 'n');
  world.ask(label + "." + label + "." + label + ".example", DnsType::a);
  CHECK(world.queries.back().size() == 256);

  DnsWorld clear;
  std::size_t bytes = 0;
  clear.add_upstream("192.0.2.1:53", [&](const DnsMessage& query, dns::Transport) {
    bytes = query.bytes().size();
    return ReplyBuilder(query).address("n.example", "198.51.100.1").build();
  });
  clear.ask("n.example", DnsType::a);
  CHECK(bytes == 12 + 11 + 4 + 11);
}

TEST_CASE("questions share one connection and do not wait for each other") {
  TlsWorld world;
  world.answers = false;
  for (const char* name : {"a.example", "b.example", "c.example"}) world.send(name, DnsType::a);
  world.loop.run_ready();
  CHECK(world.asked_over_tls.size() == 3);
  CHECK(world.net.dials.size() == 1);
  world.answers = true;
  CHECK(world.ask("d.example", DnsType::a).answers.size() == 1);
  CHECK(world.net.dials.size() == 1);
}

TEST_CASE("a certificate that does not prove the name gets no question, and the reason is told") {
  struct Row {
    CertificateFor certificate;
    const char* trouble;
  };
  auto row = GENERATE(Row{{"other.example"}, "its certificate is not for the name dot.example"},
                      Row{{"dot.example", -3, -1}, "its certificate has expired"},
                      Row{{"dot.example", 1, 3}, "its certificate is not valid yet"});
  TlsWorld world(row.certificate);
  CHECK(world.ask("www.example", DnsType::a, {}, 5s).rcode == DnsRcode::server_failure);
  CHECK(world.asked_over_tls.empty());
  CHECK(world.net.datagrams.empty());
  CHECK(world.health().trouble == row.trouble);
}

TEST_CASE("an authority that nobody trusts here signs in vain") {
  TlsWorld world;
  world.context = TestAuthority().issue({});
  CHECK(world.ask("www.example", DnsType::a, {}, 5s).rcode == DnsRcode::server_failure);
  CHECK(world.asked_over_tls.empty());
  CHECK(world.health().trouble == "its certificate is signed by nobody that is trusted here");
}

TEST_CASE("a refused connection, one that is no TLS and one that is cut off are told apart") {
  TlsWorld world;
  struct Row {
    std::function<void(StreamPeer&)> server;
    const char* trouble;
  };
  auto row =
      GENERATE(Row{[](StreamPeer& peer) { peer.refuse(ECONNREFUSED); }, "Connection refused"},
               Row{[](StreamPeer& peer) {
                     peer.connect();
                     peer.feed("HTTP/1.1 400 Bad Request\r\n\r\n");
                   },
                   "it does not speak TLS there"},
               Row{[](StreamPeer& peer) {
                     peer.connect();
                     peer.feed_end();
                   },
                   "it closed the connection in the TLS handshake"});
  world.net.on_dial = row.server;
  CHECK(world.ask("www.example", DnsType::a, {}, 5s).rcode == DnsRcode::server_failure);
  CHECK(world.health().trouble == row.trouble);
}

TEST_CASE("a resolver that does not finish its handshake is given up in time") {
  TlsWorld world;
  bool connects = GENERATE(false, true);
  world.net.on_dial = [&](StreamPeer& peer) {
    if (connects) peer.connect();
  };
  CHECK(world.ask("www.example", DnsType::a, {}, 5s).rcode == DnsRcode::server_failure);
  CHECK(world.health().trouble ==
        (connects ? "no TLS handshake in time" : "no TCP connection in time"));
  CHECK(world.net.open_streams() <= 1);
}

TEST_CASE("the next resolver is asked while a handshake is slow, in clear text only if it is so") {
  TlsWorld world;
  world.is_silent = true;
  world.add_resolver("192.0.2.2:53", resolver_with("198.51.100.2"));
  world.service->set_upstreams({kResolver, endpoint("192.0.2.2:53")});
  CHECK(world.ask("www.example", DnsType::a, {}, 310ms).answers ==
        Answers{"www.example 1 198.51.100.2"});
}

TEST_CASE("an idle connection is closed, and the next question makes a new one") {
  TlsWorld world;
  world.ask("a.example", DnsType::a);
  world.loop.advance(31s);
  CHECK(world.net.open_streams() == 0);
  CHECK(world.ask("b.example", DnsType::a).answers.size() == 1);
  CHECK(world.net.dials.size() == 2);
  CHECK(world.health().failures == 0);
}

TEST_CASE("what was asked when the resolver closed the connection is asked once more") {
  TlsWorld world;
  world.ask("a.example", DnsType::a);
  world.answers = false;
  world.send("b.example", DnsType::a);
  world.loop.run_ready();
  world.answers = true;
  bool politely = GENERATE(false, true);
  if (politely) world.latest().feed(world.ends.back()->close());
  world.latest().feed_end();
  world.loop.run_ready();
  REQUIRE(world.replies.size() == 1);
  CHECK(look_at(world.replies[0]).answers.size() == 1);
  CHECK(world.net.dials.size() == 2);
}

TEST_CASE("a resolver that closes each connection without an answer is asked twice and no more") {
  TlsWorld world;
  world.answers = false;
  world.net.on_dial = [&, serve = world.net.on_dial](StreamPeer& peer) {
    serve(peer);
    peer.on_send = [&world, served = peer.on_send](StreamPeer& from) {
      served(from);
      if (!world.asked_over_tls.empty()) from.feed_end();
    };
  };
  CHECK(world.ask("a.example", DnsType::a, {}, 5s).rcode == DnsRcode::server_failure);
  CHECK(world.net.dials.size() == 2);
  CHECK(world.health().trouble == "it closed the connection before it had answered");
}

TEST_CASE("a connection that owes an answer and is silent is replaced in time for the question") {
  TlsWorld world;
  world.ask("a.example", DnsType::a);
  world.answers = false;
  world.send("b.example", DnsType::a);
  world.loop.advance(1900ms);
  CHECK(world.net.dials.size() == 1);
  world.answers = true;
  world.loop.advance(200ms);
  CHECK(world.net.dials.size() == 2);
  CHECK(world.replies.size() == 1);
}

TEST_CASE("a resolver that refuses is not dialled again at once") {
  TlsWorld world;
  world.refuses = true;
  world.send("a.example", DnsType::a);
  world.loop.advance(5ms);
  world.send("b.example", DnsType::a);
  world.loop.advance(5ms);
  CHECK(world.net.dials.size() == 1);
  CHECK(world.replies.size() == 2);
  CHECK(world.health().trouble == "Connection refused");
  world.refuses = false;
  world.loop.advance(300ms);
  CHECK(world.ask("c.example", DnsType::a).answers.size() == 1);
}

TEST_CASE("an answer to another question, or to none, is not believed") {
  TlsWorld world;
  world.answers = false;
  world.send("a.example", DnsType::a);
  world.loop.run_ready();
  REQUIRE(world.ends.size() == 1);
  SECTION("in place of the one that was asked") {
    auto query = *DnsMessage::parse(make_query("evil.example", DnsType::a));
    auto reply = ReplyBuilder(query).id(world.last_id).address("evil.example", "10.0.0.1").build();
    world.latest().feed(world.ends[0]->send(framed(reply)));
    world.loop.run_ready();
    CHECK(world.health().answers == 0);
    CHECK(world.health().trouble == "its answer makes no sense");
  }
  SECTION("more than were asked") {
    auto query = *DnsMessage::parse(make_query("evil.example", DnsType::a));
    std::string reply = framed(ReplyBuilder(query).build());
    world.latest().feed(world.ends[0]->send(reply + reply + reply));
    world.loop.run_ready();
    CHECK(world.net.dials.size() == 2);
  }
}

TEST_CASE("a zone's resolver can be asked over TLS, and the others in clear text") {
  TlsWorld world;
  world.add_upstream("192.0.2.2:53", resolver_with("198.51.100.2"));
  world.service->set_split({{domain("corp.example"), {kResolver}}});
  CHECK(world.ask("a.corp.example", DnsType::a).answers ==
        Answers{"a.corp.example 1 198.51.100.1"});
  CHECK(world.ask("www.example", DnsType::a).answers == Answers{"www.example 1 198.51.100.2"});
  CHECK(world.asked_over_tls == Answers{"a.corp.example"});
}

TEST_CASE("a trust store that can not be read is an error that names it") {
  auto none = dns::TlsTrust::load("/nowhere/ca.pem");
  REQUIRE_FALSE(none);
  CHECK(none.status().message().find("/nowhere/ca.pem: No such file") != std::string::npos);
  auto empty = dns::TlsTrust::load("/dev/null");
  REQUIRE_FALSE(empty);
  CHECK(empty.status().message().find("no certificate is in it") != std::string::npos);
}
