// resolve-and-dial: the name in a first flight leads to where the gateway itself resolves it.
#include <catch2/catch.hpp>
#include <string>

#include "flow/judged_flow.h"
#include "wire/http2_frames.h"

using namespace sluice;
using namespace sluice::test;
using namespace std::chrono_literals;
using sluice::testing::operator+;

namespace {

const IpAddress kHere = OpenFlow::kRemote.address;
const IpAddress kThere = IpAddress::v4(198, 51, 100, 8);
const IpAddress kYonder = IpAddress::v4(198, 51, 100, 9);
const std::string kAlert("\x15\x03\x03\x00\x02\x02\x31", 7);

constexpr policy::FirstFlightOptions kSeeks{.allowed_name = policy::AllowedName::awaits_server};

/// A flow whose name the gateway finds at these addresses.
struct Sought : Judged {
  explicit Sought(std::vector<IpAddress> addresses = {}) : Judged(kSeeks) {
    gate.addresses = std::move(addresses);
  }
  StreamPeer& dial(std::size_t number) { return *net.dials.at(number); }
  std::string why() const { return gate.denials.empty() ? "" : gate.denials.back().reason; }
};

}  // namespace

TEST_CASE("a name that is where the guest is connected stays there") {
  Sought flow({kThere, kHere});
  flow.send(tls_hello("good.test"));
  CHECK(flow.host->sent() == tls_hello("good.test"));
  CHECK(flow.net.dials.size() == 1);
  REQUIRE(flow.gate.lookups.size() == 1);
  CHECK(flow.gate.lookups[0].first.text() == "good.test");
}

TEST_CASE("a name that is elsewhere gets its first flight there, and the guest's choice nothing") {
  bool tls = GENERATE(true, false);
  std::string words = tls ? tls_hello("good.test") : http_get("good.test");
  Sought flow({kThere});
  flow.send(words);
  REQUIRE(flow.net.dials.size() == 2);
  CHECK(flow.dial(1).remote->address == kThere);
  CHECK(flow.dial(1).remote->port == OpenFlow::kRemote.port);
  CHECK(flow.host->closed());
  CHECK(flow.dial(1).sent().empty());
  flow.dial(1).connect();
  flow.settle();
  CHECK(flow.dial(1).sent() == words);
  CHECK(flow.host->sent().empty());
  flow.dial(1).feed("answer");
  flow.settle();
  CHECK(flow.received() == "answer");
  CHECK(flow.live_buffers == 0);
}

TEST_CASE("the guest's own connection is answered as the address of its choice answers") {
  RelayWorld world;
  world.gate.tcp = judged(kSeeks);
  world.gate.addresses = {kThere};
  world.input(OpenFlow::kGuest, OpenFlow::kRemote,
              {.sequence = 999, .flags = kSyn, .options = {2, 4, 5, 180}});
  world.settle();
  world.net.dials.at(0)->refuse(ECONNREFUSED);
  world.settle();
  CHECK(world.port.take().at(0).flags.rst());
  CHECK(world.net.dials.size() == 1);
}

TEST_CASE("what has no name goes to the address of the guest's choice without a lookup") {
  Sought flow({kThere});
  flow.host->feed("SSH-2.0-server\r\n");
  flow.settle();
  CHECK(flow.received() == "SSH-2.0-server\r\n");
  flow.send("SSH-2.0-client\r\n");
  CHECK(flow.host->sent() == "SSH-2.0-client\r\n");
  CHECK(flow.gate.lookups.empty());
}

TEST_CASE("a name that the rules deny is not looked up") {
  Sought flow({kThere});
  flow.send(tls_hello("bad.test"));
  CHECK(flow.received() == kAlert);
  CHECK(flow.gate.lookups.empty());
}

TEST_CASE("while the name is looked up what it is for is held, however much and whatever follows") {
  Sought flow;
  flow.gate.answers_lookups = false;
  flow.send(http_get("good.test").substr(0, 20));
  flow.send(http_get("good.test").substr(20));
  flow.send(http_get("good.test"));
  CHECK(flow.host->sent().empty());
  REQUIRE(flow.gate.lookups.size() == 1);
  std::vector<IpAddress> here{kHere};
  flow.gate.lookups[0].second(here);
  flow.settle();
  CHECK(flow.host->sent() == http_get("good.test") + http_get("good.test"));
  CHECK(flow.gate.lookups.size() == 1);
}

TEST_CASE("a guest that ends its side while the name is looked up is served all the same") {
  Sought flow;
  flow.gate.answers_lookups = false;
  flow.send(http_get("good.test"), kAck | kFin);
  CHECK(flow.gate.denials.empty());
  std::vector<IpAddress> there{kThere};
  flow.gate.lookups.at(0).second(there);
  flow.dial(1).connect();
  flow.settle();
  CHECK(flow.dial(1).sent() == http_get("good.test"));
  CHECK(flow.dial(1).saw_end());
}

TEST_CASE("a name without an address is refused as a denied first flight is, with the reason") {
  SECTION("TLS") {
    Sought flow;
    flow.send(tls_hello("good.test"));
    CHECK(flow.received() == kAlert);
    CHECK(flow.host->closed());
    CHECK(flow.host->sent().empty());
    REQUIRE(flow.gate.denials.size() == 1);
    CHECK(flow.gate.denials[0].name->text() == "good.test");
    CHECK(flow.gate.denials[0].decider == "resolve-and-dial");
    CHECK(flow.why() == "the gateway's own lookup of it gave no address");
  }
  SECTION("HTTP") {
    Sought flow;
    flow.send(http_get("good.test"));
    CHECK(flow.received().starts_with("HTTP/1.1 403 Forbidden\r\n"));
    CHECK(flow.received().find("good.test: the gateway's own lookup") != std::string::npos);
  }
}

TEST_CASE("a lookup that is never answered is given up after ten seconds") {
  Sought flow;
  flow.gate.answers_lookups = false;
  flow.send(tls_hello("good.test"));
  flow.pass(9s);
  CHECK(flow.gate.denials.empty());
  flow.pass(2s);
  CHECK(flow.why() == "the gateway's own lookup of it took too long");
  CHECK(flow.received() == kAlert);
  std::vector<IpAddress> here{kHere};
  flow.gate.lookups[0].second(here);
  flow.settle();
  CHECK(flow.host->sent().empty());
  flow.pass(11s);
  CHECK(flow.relay->counters().flows == 0);
}

TEST_CASE("an answer that comes after the flow is gone does nothing") {
  Sought flow;
  flow.gate.answers_lookups = false;
  flow.send(tls_hello("good.test"));
  flow.send({}, kRst);
  CHECK(flow.relay->counters().flows == 0);
  std::vector<IpAddress> there{kThere};
  flow.gate.lookups[0].second(there);
  flow.settle();
  CHECK(flow.net.dials.size() == 1);
}

TEST_CASE("addresses are dialled in order until one accepts, four at most") {
  Sought flow({kThere, kYonder});
  flow.send(tls_hello("good.test"));
  flow.dial(1).refuse(ECONNREFUSED);
  flow.settle();
  REQUIRE(flow.net.dials.size() == 3);
  SECTION("the second accepts") {
    flow.dial(2).connect();
    flow.settle();
    CHECK(flow.dial(2).sent() == tls_hello("good.test"));
  }
  SECTION("the second is silent") {
    flow.pass(4s);
    CHECK(flow.dial(2).closed());
    CHECK(flow.received() == kAlert);
    CHECK(flow.why().ends_with("can be reached: connect: no answer in time"));
  }
  SECTION("the second refuses too") {
    flow.dial(2).refuse(ECONNREFUSED);
    flow.settle();
    CHECK(flow.received() == kAlert);
    CHECK(flow.why().ends_with("connect: Connection refused"));
    flow.pass(11s);
    CHECK(flow.relay->counters().flows == 0);
  }
}

TEST_CASE("of many addresses four are dialled") {
  std::vector<IpAddress> many;
  for (std::uint8_t i = 0; i < 20; ++i) many.push_back(IpAddress::v4(203, 0, 113, i));
  Sought flow(many);
  flow.net.on_dial = [](StreamPeer& peer) { peer.refuse(ECONNREFUSED); };
  flow.send(tls_hello("good.test"));
  CHECK(flow.net.dials.size() == 5);
  CHECK(flow.received() == kAlert);
}

TEST_CASE("an address that the policy does not allow is not dialled") {
  Sought flow({kThere, kYonder});
  bool is_any = GENERATE(true, false);
  flow.gate.named_route = [=](const Endpoint& remote) {
    return is_any && remote.address == kYonder;
  };
  flow.send(tls_hello("good.test"));
  if (is_any) {
    REQUIRE(flow.net.dials.size() == 2);
    CHECK(flow.dial(1).remote->address == kYonder);
  } else {
    CHECK(flow.net.dials.size() == 1);
    CHECK(flow.why().ends_with("can be reached: the policy does not allow it there"));
  }
}

TEST_CASE("a server that has spoken keeps its flow where it is the name's, and loses it else") {
  bool is_its = GENERATE(true, false);
  Sought flow({is_its ? kHere : kThere});
  flow.host->feed("hello?\r\n");
  flow.settle();
  flow.send(http_get("good.test"));
  CHECK(flow.net.dials.size() == 1);
  CHECK((flow.host->sent() == http_get("good.test")) == is_its);
  CHECK(flow.host->closed() == !is_its);
  if (!is_its) {
    CHECK(flow.host->sent().empty());
    // An answer of ours would come in the midst of the server's.
    CHECK(flow.received() == "hello?\r\n");
    CHECK(flow.why() ==
          "the gateway's own lookup of it gave no address that this connection leads to");
  }
}

TEST_CASE("what a server says while its name is looked up is heard only if it is the name's") {
  bool is_its = GENERATE(true, false);
  Sought flow;
  flow.gate.answers_lookups = false;
  flow.send(http_get("good.test"));
  flow.host->feed("too late");
  flow.settle();
  CHECK(flow.received().empty());
  std::vector<IpAddress> addresses{is_its ? kHere : kThere};
  flow.gate.lookups[0].second(addresses);
  flow.settle();
  if (is_its) {
    CHECK(flow.received() == "too late");
    return;
  }
  flow.dial(1).connect();
  flow.settle();
  CHECK(flow.received().empty());
  CHECK(flow.dial(1).sent() == http_get("good.test"));
}

TEST_CASE("a guest's choice that resets while the name is looked up is no reason to end") {
  Sought flow;
  flow.gate.answers_lookups = false;
  flow.send(http_get("good.test"));
  flow.host->reset();
  flow.settle();
  std::vector<IpAddress> there{kThere};
  flow.gate.lookups[0].second(there);
  flow.dial(1).connect();
  flow.settle();
  CHECK(flow.dial(1).sent() == http_get("good.test"));
}

TEST_CASE("a later request for another name has to lead to the address that was dialled") {
  Sought flow({kThere});
  flow.send(http_get("good.test"));
  flow.dial(1).connect();
  flow.settle();
  SECTION("and does") {
    flow.gate.addresses = {kYonder, kThere};
    flow.send(http_get("other.test"));
    CHECK(flow.dial(1).sent() == http_get("good.test") + http_get("other.test"));
    CHECK(flow.gate.lookups.size() == 2);
  }
  SECTION("or is refused by a reset, not a byte of it passing") {
    flow.gate.addresses = {kHere};
    flow.send(http_get("other.test"));
    CHECK(flow.dial(1).sent() == http_get("good.test"));
    CHECK(flow.dial(1).closed());
    CHECK(flow.received().empty());
    CHECK(flow.gate.denials.at(0).name->text() == "other.test");
  }
  SECTION("the same name is not looked up again") {
    flow.gate.addresses = {};
    flow.send(http_get("good.test"));
    CHECK(flow.dial(1).sent() == http_get("good.test") + http_get("good.test"));
  }
  SECTION("what the server answers meanwhile is heard") {
    flow.gate.answers_lookups = false;
    flow.send(http_get("other.test"));
    flow.dial(1).feed("HTTP/1.1 200 OK\r\n\r\n");
    flow.settle();
    CHECK(flow.received() == "HTTP/1.1 200 OK\r\n\r\n");
  }
}

TEST_CASE("cleartext HTTP/2 goes to its name's server from the first byte of its preface on") {
  Sought flow({kThere});
  std::string stream = text(testing::http2::begin() + testing::http2::get(1, "good.test"));
  flow.send(stream.substr(0, 30));
  CHECK(flow.host->sent().empty());
  flow.send(stream.substr(30));
  flow.dial(1).connect();
  flow.settle();
  CHECK(flow.dial(1).sent() == stream.substr(0, 24));
  flow.dial(1).feed(text(testing::http2::frame(testing::http2::kSettings, 0, 0)));
  flow.settle();
  CHECK(flow.dial(1).sent() == stream);
  CHECK(flow.host->sent().empty());
}

TEST_CASE("a new policy ends a flow that looks its name up, or that was dialled elsewhere") {
  Sought flow;
  bool is_dialled = GENERATE(true, false);
  flow.gate.answers_lookups = false;
  flow.send(tls_hello("good.test"));
  if (is_dialled) {
    std::vector<IpAddress> there{kThere};
    flow.gate.lookups[0].second(there);
    flow.dial(1).connect();
    flow.settle();
  }
  flow.relay->judge_again(RevokedFlows::reset);
  CHECK(flow.relay->counters().flows == 1);
  flow.gate.named = [](const DomainName&) { return false; };
  flow.relay->judge_again(RevokedFlows::reset);
  flow.settle();
  CHECK(flow.relay->counters().flows == 0);
}

TEST_CASE("dials that are not answered are bounded for one destination") {
  RelayWorld world({.held_per_destination = 1});
  world.gate.tcp = judged(kSeeks);
  world.gate.addresses = {kThere};
  for (std::uint16_t i = 0; i < 2; ++i) {
    Endpoint guest(OpenFlow::kGuest.address, Port(static_cast<std::uint16_t>(41000 + i)));
    world.input(guest, OpenFlow::kRemote, {.sequence = 999, .flags = kSyn});
    world.settle();
    world.net.dials.back()->connect();
    world.settle();
    std::uint32_t first = world.port.take().back().sequence + 1;
    world.input(guest, OpenFlow::kRemote,
                {.sequence = 1000,
                 .acknowledgment = first,
                 .flags = kAck,
                 .payload = tls_hello("good.test")});
    world.settle();
  }
  CHECK(world.relay->counters().limit_destination == 1);
  REQUIRE(world.gate.denials.size() == 1);
  CHECK(world.gate.denials[0].reason.ends_with("too many connections wait for that destination"));
}

TEST_CASE("QUIC goes on where its name is at the address, and is refused elsewhere") {
  DatagramWorld world;
  Endpoint guest = at("192.168.127.2:5000"), remote = at("198.51.100.7:443");
  world.gate.udp = judged_datagrams(kSeeks);
  world.gate.answers_lookups = false;
  std::string hello = initial(testing::crypto_frame(0, testing::hello_message("good.test")), 0);
  world.send(guest, remote, hello);
  world.send(guest, remote, hello);
  const auto& sent = world.net.datagrams.at(0)->sent;
  CHECK(sent.empty());
  REQUIRE(world.gate.lookups.size() == 1);
  SECTION("at the address") {
    std::vector<IpAddress> here{kHere};
    world.gate.lookups[0].second(here);
    world.settle();
    CHECK(sent.size() == 2);
    world.send(guest, remote, hello);
    CHECK(sent.size() == 3);
    CHECK(world.gate.lookups.size() == 1);
  }
  SECTION("elsewhere") {
    std::vector<IpAddress> there{kThere};
    world.gate.lookups[0].second(there);
    world.settle();
    REQUIRE(world.gate.denials.size() == 1);
    CHECK(world.gate.denials[0].name->text() == "good.test");
    CHECK(world.gate.denials[0].decider == "resolve-and-dial");
    auto errors = errors_in(world.output);
    REQUIRE(errors.size() == 1);
    CHECK(errors[0].error == wire::IcmpError::admin_prohibited);
    CHECK(errors[0].quoted_destination == remote);
    // It is asked again, so that a name that moves is found.
    world.gate.addresses = {kHere};
    world.gate.answers_lookups = true;
    world.send(guest, remote, hello);
    CHECK(sent.size() == 1);
  }
  SECTION("never answered") {
    world.pass(11s);
    CHECK(sent.empty());
    REQUIRE(world.gate.denials.size() == 1);
    CHECK(world.gate.denials[0].reason == "it took too long");
  }
  SECTION("denied by a new policy before the answer") {
    world.gate.named = [](const DomainName&) { return false; };
    world.udp.judge_again(RevokedFlows::reset);
    std::vector<IpAddress> here{kHere};
    world.gate.lookups[0].second(here);
    world.settle();
    CHECK(sent.empty());
  }
  SECTION("answered when the mapping is gone") {
    world.udp.clear();
    std::vector<IpAddress> here{kHere};
    world.gate.lookups[0].second(here);
    world.settle();
    CHECK(sent.empty());
  }
}
