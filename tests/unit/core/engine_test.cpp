#include "core/engine.h"

#include <catch2/catch.hpp>

#include "core/engine_world.h"
#include "wire/ethernet.h"

using namespace sluice;
using namespace sluice::test;
using namespace std::chrono_literals;
using Flags = wire::TcpFlags;

namespace {

const Endpoint kClient = endpoint("192.168.127.2:40000");
const Endpoint kServer = endpoint("203.0.113.5:7000");

bool has_reset(const std::vector<EngineWorld::Segment>& segments) {
  return std::any_of(segments.begin(), segments.end(),
                     [](const auto& one) { return one.flags.rst(); });
}

/// A guest's SYN and a host that connects: the SYN-ACK for the guest, if it gets one.
std::optional<EngineWorld::Segment> begin(EngineWorld& world, const Endpoint& client = kClient) {
  std::size_t before = world.net.dials.size();
  world.send_tcp(client, kServer, Flags::kSyn, 1000);
  if (world.net.dials.size() == before) return std::nullopt;
  world.net.dials.back()->connect();
  world.settle();
  auto seen = world.segments();
  if (seen.size() != 1 || seen[0].flags.bits != (Flags::kSyn | Flags::kAck)) return std::nullopt;
  return seen[0];
}

/// ... and the guest's ACK of it.
bool opens(EngineWorld& world, const Endpoint& client = kClient) {
  auto answer = begin(world, client);
  if (!answer) return false;
  world.send_tcp(client, kServer, Flags::kAck, 1001, answer->sequence + 1);
  return true;
}

}  // namespace

TEST_CASE("of the configuration, the first fault stops the start and is named") {
  auto refusal = [](NetworkConfig config) {
    VirtualLoop loop;
    ScriptedNet net(loop);
    auto engine = core::Engine::create(loop, net, std::move(config));
    REQUIRE_FALSE(engine);
    CHECK(loop.active_timers() == 0);
    CHECK(net.listeners.empty());
    return engine.status().message();
  };
  NetworkConfig config;
  config.mtu = 1;
  CHECK(refusal(config).starts_with("mtu 1: "));
  config = EngineWorld::with_rules("alow@public");
  CHECK(refusal(config).find("alow") != std::string::npos);
  config = {};
  config.policy.profile = "everything";
  CHECK(refusal(config).find("everything") != std::string::npos);
}

TEST_CASE("a port that can't be bound stops the start, and those bound before it are let go") {
  VirtualLoop loop;
  ScriptedNet net(loop);
  NetworkConfig config;
  config.publish = {*parse_publish("8080:80"), *parse_publish("8080:81")};
  auto engine = core::Engine::create(loop, net, std::move(config));
  REQUIRE_FALSE(engine);
  CHECK(engine.status().message().find("8080") != std::string::npos);
}

TEST_CASE("one guest is attached at a time, and another once it was detached") {
  EngineWorld world;
  ScriptedNic* second = nullptr;
  Status status = world.engine->attach(std::make_unique<ScriptedNic>(&second));
  CHECK(status.code() == StatusCode::already_exists);
  CHECK(status.message().find("detach") != std::string::npos);
  CHECK(second == nullptr);
  world.engine->detach();
  CHECK(world.nic == nullptr);
  world.engine->detach();
  world.attach();
  CHECK(world.nic != nullptr);
}

TEST_CASE("what a port counted is still counted when it is gone") {
  EngineWorld world;
  auto sent = world.engine->counters().tx_frames;
  CHECK(sent > 0);
  world.engine->detach();
  CHECK(world.engine->counters().tx_frames == sent);
  world.attach();
  CHECK(world.engine->counters().tx_frames > sent);
}

TEST_CASE("a guest that goes and comes back within ten seconds keeps its connections") {
  EngineWorld world(EngineWorld::with_rules("allow@any"));
  REQUIRE(opens(world));
  world.nic->set_link(false);
  world.pass(9s);
  world.nic->set_link(true);
  world.pass(5s);
  CHECK(world.engine->counters().tcp_flows == 1);
  CHECK_FALSE(world.net.dials.back()->closed());

  world.nic->set_link(false);
  world.pass(11s);
  CHECK(world.engine->counters().tcp_flows == 0);
  CHECK(world.net.dials.back()->was_reset());
}

TEST_CASE("a guest that is detached loses its flows at once") {
  EngineWorld world(EngineWorld::with_rules("allow@any"));
  REQUIRE(opens(world));
  world.send_udp(kClient, kServer, "x");
  world.engine->detach();
  world.settle();
  CHECK(world.engine->counters().tcp_flows == 0);
  CHECK(world.engine->counters().udp_flows == 0);
  CHECK(world.net.open_streams() == 0);
  CHECK(world.net.open_datagrams() == 0);
}

TEST_CASE("a handshake that the guest never finishes ends in time") {
  EngineWorld world(EngineWorld::with_rules("allow@any"));
  REQUIRE(begin(world));
  for (int i = 0; i < 90 && world.engine->counters().tcp_flows > 0; ++i) {
    world.pass(1s);
    // A VM from which nothing comes at all might only be paused.
    world.send_udp(kClient, endpoint("203.0.113.6:9"), "alive");
  }
  CHECK(world.engine->counters().tcp_flows == 0);
  CHECK(world.net.dials.back()->closed());
}

TEST_CASE("a bad policy changes nothing") {
  EngineWorld world(EngineWorld::with_rules("allow@any"));
  REQUIRE(opens(world));
  std::string before = world.engine->inspector().policy().summary;
  Status status =
      world.engine->set_policy({.rules = {EngineWorld::rule("deny@")}, .profile = "none"});
  CHECK(status.code() == StatusCode::invalid_argument);
  CHECK(world.engine->inspector().policy().summary == before);
  CHECK(world.engine->counters().tcp_flows == 1);
}

TEST_CASE("encrypted DNS that is refused is called that, in events and by policy check alike") {
  NetworkConfig config = EngineWorld::with_rules("deny@bad.test,allow@public");
  config.policy.encrypted_dns = Action::deny;
  EngineWorld world(std::move(config));
  const Endpoint dot = endpoint("9.9.9.9:853");
  world.send_tcp(kClient, dot, Flags::kSyn, 1000);
  REQUIRE(world.denied.size() == 1);
  CHECK(world.denied[0].rule == "policy.encrypted-dns");
  std::string reason = world.denied[0].reason;
  CHECK(reason.starts_with("encrypted DNS is refused where rules are on names"));
  world.send_udp(kClient, dot, "x");
  REQUIRE(world.denied.size() == 2);
  CHECK(world.denied[1].reason == reason);
  for (const char* question : {"tcp 9.9.9.9:853", "udp 9.9.9.9:853"}) {
    auto answer = world.engine->inspector().check(question);
    REQUIRE(answer);
    CHECK(answer->flows.at(0).reason == reason);
  }
  auto lookup = world.engine->inspector().check("dns dns.google");
  REQUIRE(lookup);
  REQUIRE(lookup->lookup);
  CHECK(lookup->lookup->reason == reason);
}

TEST_CASE("a policy that denies an open connection resets both of its ends") {
  EngineWorld world(EngineWorld::with_rules("allow@any"));
  REQUIRE(opens(world));
  REQUIRE(world.engine->set_policy(
      {.rules = {EngineWorld::rule("deny@203.0.113.0/24")}, .profile = "all"}));
  world.settle();
  CHECK(has_reset(world.segments()));
  CHECK(world.net.dials.back()->was_reset());
  CHECK(world.denied.back().destination == kServer);
  CHECK_FALSE(opens(world, endpoint("192.168.127.2:40001")));
}

TEST_CASE("a policy that denies a UDP conversation ends it both ways") {
  EngineWorld world(EngineWorld::with_rules("allow@any"));
  world.send_udp(kClient, kServer, "one");
  auto& socket = *world.net.datagrams.back();
  REQUIRE(socket.sent.size() == 1);
  REQUIRE(world.engine->set_policy({.profile = "none"}));
  world.send_udp(kClient, kServer, "two");
  CHECK(socket.sent.size() == 1);
  static_cast<void>(world.packets());
  socket.feed(kServer, "answer");
  world.settle();
  CHECK_FALSE(world.datagram());
}

TEST_CASE("a policy that denies a client of a published port ends what it had open") {
  NetworkConfig config = EngineWorld::with_rules("allow@any");
  config.publish = {*parse_publish("0.0.0.0:8080:80"), *parse_publish("0.0.0.0:5353:53/udp"),
                    *parse_publish("unix:/run/web.sock:80")};
  auto revoked = GENERATE(RevokedFlows::reset, RevokedFlows::keep);
  config.revoked_flows = revoked;
  EngineWorld world(std::move(config));
  const Endpoint denied = endpoint("198.51.100.7:4000"), other = endpoint("203.0.113.7:4000");
  auto connect = [&](std::size_t listener, const std::optional<Endpoint>& from) {
    auto client = world.net.listeners.at(listener)->connect(from.value_or(denied));
    client->remote = from;
    world.settle();
    return client;
  };
  auto refused = connect(0, denied), allowed = connect(0, other), local = connect(1, std::nullopt);
  auto& socket = *world.net.datagrams.back();
  for (const Endpoint& from : {denied, other}) socket.feed(from, "x");
  world.settle();
  CHECK(world.engine->counters().udp_flows == 2);

  std::string rules = "deny:ingress@198.51.100.0/24";
  REQUIRE(world.engine->set_policy({.rules = {EngineWorld::rule(rules)}, .profile = "none"}));
  // None of the connections is open yet: the guest has not answered.
  CHECK(refused->was_reset());
  CHECK_FALSE(allowed->closed());
  CHECK_FALSE(local->closed());
  CHECK(world.engine->counters().udp_flows == (revoked == RevokedFlows::keep ? 2 : 1));
  CHECK(world.denied.at(0).layer == Layer::ingress);
  CHECK(world.denied.at(0).source == denied);
  CHECK(world.denied.at(0).flow != 0);
}

TEST_CASE("what a name allowed stays open however long after its TTL") {
  EngineWorld world(EngineWorld::with_rules("allow@service.example.com"));
  world.engine->names().bind(domain("service.example.com"), kServer.address, 1s, world.loop.now());
  REQUIRE(opens(world));
  world.send_udp(kClient, kServer, "subscribe");
  auto& socket = *world.net.datagrams.back();
  for (int i = 0; i < 30; ++i) {
    world.pass(25s);
    static_cast<void>(world.packets());
    socket.feed(kServer, "tick");
    world.settle();
    REQUIRE(world.datagram());
  }
  // Another rule, so that all flows are judged again.
  REQUIRE(world.engine->set_policy({.rules = {EngineWorld::rule("deny@192.0.2.1"),
                                              EngineWorld::rule("allow@service.example.com")},
                                    .profile = "none"}));
  world.settle();
  CHECK(world.engine->counters().tcp_flows == 1);
  world.send_udp(kClient, kServer, "again");
  CHECK(socket.sent.back().data == "again");
  CHECK(world.denied.empty());
}

TEST_CASE("an address is closed again once its name has run out and nothing uses it") {
  EngineWorld world(EngineWorld::with_rules("allow@service.example.com"));
  world.engine->names().bind(domain("service.example.com"), kServer.address, 1s, world.loop.now());
  REQUIRE(opens(world));
  world.send_tcp(kClient, kServer, Flags::kRst, 1001);
  REQUIRE(world.engine->counters().tcp_flows == 0);
  world.pass(6min);
  CHECK_FALSE(opens(world, endpoint("192.168.127.2:40001")));
}

TEST_CASE("forgetting a name ends what only it allowed, TCP and UDP") {
  EngineWorld world(EngineWorld::with_rules("allow@one.example.com,allow@two.example.com"));
  auto now = world.loop.now();
  const Endpoint both = endpoint("203.0.113.9:7000");
  world.engine->names().bind(domain("one.example.com"), kServer.address, 1h, now);
  world.engine->names().bind(domain("one.example.com"), both.address, 1h, now);
  world.engine->names().bind(domain("two.example.com"), both.address, 1h, now);
  REQUIRE(opens(world));
  world.send_udp(kClient, kServer, "x");
  world.send_udp(kClient, both, "x");
  auto& socket = *world.net.datagrams.back();
  REQUIRE(socket.sent.size() == 2);

  world.engine->forget(domain("one.example.com"));
  world.settle();
  CHECK(world.engine->counters().tcp_flows == 0);
  CHECK(world.net.dials.back()->was_reset());
  world.send_udp(kClient, kServer, "y");
  CHECK(socket.sent.size() == 2);
  world.send_udp(kClient, both, "y");
  CHECK(socket.sent.size() == 3);
}

TEST_CASE("a connection to the guest's DNS port goes to the forwarder, wherever it was meant for") {
  EngineWorld world(EngineWorld::with_rules("deny@any"));
  world.send_tcp(kClient, endpoint("203.0.113.5:53"), Flags::kSyn, 1000);
  auto seen = world.segments();
  REQUIRE(seen.size() == 1);
  CHECK(seen[0].flags.bits == (Flags::kSyn | Flags::kAck));
  CHECK(world.net.dials.empty());
}

TEST_CASE("frames that lead nowhere are counted by cause") {
  EngineWorld world;
  const Endpoint guest = kClient;
  world.nic->give(std::vector<std::uint8_t>(20, 0xff));
  CHECK(world.drops("unknown_ethertype") == 1);

  std::vector<std::uint8_t> frame(64);
  wire::EthernetHeader{world.engine->config().mac, kGuestMac, wire::EtherType::ipv4}.emit(frame);
  world.nic->give(frame);
  CHECK(world.drops("malformed") == 1);

  world.send_udp(endpoint("10.9.9.9:1"), kServer, "x");
  CHECK(world.drops("spoofed") == 1);
  world.send_udp(guest, endpoint("239.1.2.3:1"), "x");
  CHECK(world.drops("not_for_us") == 1);

  wire::IpHeader header;
  header.source = guest.address;
  header.destination = kServer.address;
  header.ttl = 1;
  world.send_ip(header, std::vector<std::uint8_t>(8));
  CHECK(world.drops("ttl_exceeded") == 1);
  header.ttl = 64;
  header.protocol = wire::IpProtocol(132);
  world.send_ip(header, std::vector<std::uint8_t>(8));
  CHECK(world.drops("unknown_protocol") == 1);
  header.protocol = wire::IpProtocol::udp;
  world.send_ip(header, std::vector<std::uint8_t>{0, 1, 0, 2, 0, 9, 0xab, 0xcd, 'x'});
  CHECK(world.drops("bad_checksum") == 1);
}
