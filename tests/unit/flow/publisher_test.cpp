#include <catch2/catch.hpp>
#include <set>

#include "flow/datagram_world.h"
#include "flow/publisher.h"

using namespace sluice;
using namespace sluice::test;
using namespace std::chrono_literals;

namespace {

const IpAddress kGateway = ip("192.168.127.1");
const Endpoint kGuestPort = at("192.168.127.2:80");
const Endpoint kClient = at("203.0.113.5:4000");

PublishSpec spec(std::string_view text) {
  return *parse_publish(text);
}

/// A TCP relay with published ports.
class PublishWorld : public RelayWorld {
 public:
  explicit PublishWorld(const flow::TcpLimits& limits = {}, std::size_t udp_clients = 1024)
      : RelayWorld(limits),
        publisher(std::make_unique<flow::Publisher>(
            loop, net, *relay, gate, output,
            flow::PublisherOptions{.guest_address =
                                       [](Family family) {
                                         return family == Family::v4 ? kGuestPort.address
                                                                     : ip("fd00::2");
                                       },
                                   .guest_heard = [this] { return guest_heard; },
                                   .guest_prefixes = {*IpPrefix::parse("192.168.127.0/24")},
                                   .routed_prefixes = {*IpPrefix::parse("172.17.0.0/16")},
                                   .udp_clients = udp_clients})) {}
  ~PublishWorld() { publisher.reset(); }

  void serve() {
    for (int i = 0; i < 16; ++i) {
      settle();
      if (!publisher->has_work()) break;
      publisher->run();
    }
  }
  std::shared_ptr<StreamPeer> connect(const Endpoint& from = kClient) {
    auto client = net.listeners.back()->connect(from);
    serve();
    return client;
  }
  /// The guest's answer to the SYN that came last.
  void accept() {
    SeenSegment syn = port.seen.back();
    input(syn.destination, syn.source,
          {.sequence = 7000, .acknowledgment = syn.sequence + 1, .flags = kSyn | kAck});
    serve();
  }
  /// The guest sends a datagram; whether a published port took it.
  bool from_guest(const Endpoint& from, const Endpoint& to, std::string_view data) {
    std::vector<std::uint8_t> memory(data.size() + 64);
    std::size_t size = wire::emit_udp(memory, from, to, bytes_of(data));
    auto packet = wire::Packet::parse(Bytes(memory).first(size));
    return publisher->on_guest_datagram(*packet, *wire::UdpView::parse(packet->payload()));
  }
  void feed(const Endpoint& from, std::string_view data) {
    net.datagrams.back()->feed(from, data);
    serve();
  }

  bool guest_heard = true;
  std::unique_ptr<flow::Publisher> publisher;
};

}  // namespace

TEST_CASE("a client of a published port is connected to the guest") {
  PublishWorld world;
  auto ports = world.publisher->publish(spec("0.0.0.0:8080:80"));
  REQUIRE(ports);
  REQUIRE(ports->size() == 1);
  CHECK(ports->at(0).host == at("0.0.0.0:8080"));
  CHECK(ports->at(0).guest_port == Port(80));
  auto client = world.connect();
  REQUIRE(world.port.seen.size() == 1);
  CHECK(world.port.seen[0].flags.bits == kSyn);
  CHECK(world.port.seen[0].destination == kGuestPort);
  world.accept();
  client->feed("hello");
  world.serve();
  CHECK(world.port.seen.back().payload == "hello");
  CHECK(world.publisher->counters().accepted == 1);
}

TEST_CASE("a client of the host's own is led to a port that is not published") {
  PublishWorld world;
  auto client = world.net.adopt(UniqueFd());
  REQUIRE(client);
  auto peer = world.net.dials.back();
  REQUIRE(world.publisher->connect(std::move(*client), kGuestPort));
  world.serve();
  REQUIRE(world.port.seen.size() == 1);
  CHECK(world.port.seen[0].destination == kGuestPort);
  CHECK(world.port.seen[0].source.address == kGateway);
  CHECK(world.port.seen[0].source.port.value() >= 49152);
  world.accept();
  peer->feed("hello");
  world.serve();
  CHECK(world.port.seen.back().payload == "hello");
  CHECK(world.publisher->counters().accepted == 1);
  CHECK(world.publisher->ports().empty());
}

TEST_CASE("the guest sees the client's address where it can answer to it") {
  PublishWorld world;
  REQUIRE(world.publisher->publish(spec("0.0.0.0:8080:80")));
  world.connect(kClient);
  CHECK(world.port.seen.back().source == kClient);
  // These would lead the guest past the gateway.
  for (auto from : {"127.0.0.1:4000", "169.254.1.1:4000", "192.168.127.77:4000", "172.17.0.3:4000",
                    "[2001:db8::5]:4000"}) {
    world.port.take();
    world.connect(at(from));
    REQUIRE(world.port.seen.size() == 1);
    INFO(from);
    if (at(from).address.is_v4()) {
      CHECK(world.port.seen[0].source.address == kGateway);
      CHECK(world.port.seen[0].source.port.value() >= 49152);
    } else {
      CHECK(world.port.seen[0].source == at(from));
      CHECK(world.port.seen[0].destination.address == ip("fd00::2"));
    }
  }
}

TEST_CASE("clients behind the gateway's address have a port each") {
  PublishWorld world;
  REQUIRE(world.publisher->publish(spec("0.0.0.0:8080:80")));
  std::set<Endpoint> sources;
  for (int i = 0; i < 100; ++i) {
    world.connect(at("127.0.0.1:4000"));
    sources.insert(world.port.seen.back().source);
  }
  CHECK(sources.size() == 100);
}

TEST_CASE("a client whose address and port the guest has in use already is reset") {
  PublishWorld world;
  REQUIRE(world.publisher->publish(spec("0.0.0.0:8080:80")));
  world.connect();
  auto second = world.connect();
  CHECK(second->was_reset());
  CHECK(world.publisher->counters().failed == 1);
}

TEST_CASE("a PROXY header comes before the client's first byte") {
  PublishWorld world;
  PublishSpec proxied = spec("0.0.0.0:8080:80");
  proxied.source = SourceMode::proxy_v2;
  REQUIRE(world.publisher->publish(proxied));
  auto client = world.connect();
  CHECK(world.port.seen.back().source.address == kGateway);
  world.accept();
  client->feed("GET /");
  world.serve();
  std::string stream = world.port.stream(world.port.seen[0].sequence + 1);
  REQUIRE(stream.size() == 28 + 5);
  CHECK(stream.substr(0, 12) == std::string("\r\n\r\n\0\r\nQUIT\n", 12));
  CHECK(stream.substr(16, 4) == std::string("\xcb\x00\x71\x05", 4));
  CHECK(stream.substr(28) == "GET /");
}

TEST_CASE("past the limit of connections a client is reset, until another has gone") {
  PublishWorld world;
  PublishSpec limited = spec("0.0.0.0:8080:80");
  limited.max_connections = 2;
  REQUIRE(world.publisher->publish(limited));
  auto first = world.connect(at("203.0.113.5:1"));
  auto second = world.connect(at("203.0.113.5:2"));
  CHECK_FALSE(second->closed());
  CHECK(world.connect(at("203.0.113.5:3"))->was_reset());
  CHECK(world.publisher->counters().limit_connections == 1);
  first->reset();
  world.pass(11s);
  CHECK(first->closed());
  CHECK_FALSE(world.connect(at("203.0.113.5:4"))->closed());
}

TEST_CASE("past the limit of connections a second a client is reset") {
  PublishWorld world;
  PublishSpec limited = spec("0.0.0.0:8080:80");
  limited.connections_per_second = 2;
  REQUIRE(world.publisher->publish(limited));
  CHECK_FALSE(world.connect(at("203.0.113.5:1"))->closed());
  CHECK_FALSE(world.connect(at("203.0.113.5:2"))->closed());
  CHECK(world.connect(at("203.0.113.5:3"))->was_reset());
  CHECK(world.publisher->counters().limit_rate == 1);
  world.pass(1s);
  CHECK_FALSE(world.connect(at("203.0.113.5:4"))->closed());
}

TEST_CASE("clients that the port or the policy does not allow are reset") {
  PublishWorld world;
  PublishSpec limited = spec("0.0.0.0:8080:80");
  limited.allowed_sources = {*IpPrefix::parse("203.0.113.0/24")};
  REQUIRE(world.publisher->publish(limited));
  CHECK(world.connect(at("198.51.100.1:1"))->was_reset());
  CHECK_FALSE(world.connect(kClient)->closed());
  world.gate.ingress = [](const auto&) { return false; };
  CHECK(world.connect(at("203.0.113.5:2"))->was_reset());
  CHECK(world.publisher->counters().refused_by_policy == 2);
}

TEST_CASE("a client that a new policy denies is reset, its guest too; another notices nothing") {
  PublishWorld world;
  REQUIRE(world.publisher->publish(spec("0.0.0.0:8080:80")));
  auto other = world.connect(at("198.51.100.1:1"));
  world.accept();
  auto client = world.connect();
  world.accept();
  client->feed("before");
  world.serve();
  // Neither what the host has of the client nor what the guest says next.
  client->feed("after");
  std::uint32_t first = world.port.seen.back().sequence;
  world.port.take();
  world.gate.ingress = [](const auto& from) { return from != kClient; };
  world.relay->judge_again(RevokedFlows::reset);
  CHECK(client->was_reset());
  world.input(kGuestPort, kClient, {.sequence = 7001, .acknowledgment = first, .payload = "late"});
  world.serve();
  CHECK(client->sent().empty());
  auto seen = world.port.take();
  REQUIRE_FALSE(seen.empty());
  for (const SeenSegment& segment : seen) {
    CHECK((segment.flags.bits & kRst) != 0);
    CHECK(segment.payload.empty());
  }
  CHECK(world.gate.ends ==
        std::vector<std::string>{"tcp 2: the policy does not allow it any more"});
  other->feed("still here");
  world.serve();
  CHECK(world.port.seen.back().payload == "still here");
}

TEST_CASE("a client that waits for the guest is reset by a policy that denies it, kept or not") {
  auto revoked = GENERATE(RevokedFlows::reset, RevokedFlows::keep);
  PublishWorld world;
  REQUIRE(world.publisher->publish(spec("0.0.0.0:8080:80")));
  auto client = world.connect();
  world.gate.ingress = [](const auto&) { return false; };
  world.relay->judge_again(revoked);
  CHECK(client->was_reset());
  CHECK(world.relay->counters().flows == 0);
}

TEST_CASE("an open connection of a client is kept where that is asked for, and keeps its number") {
  PublishWorld world;
  REQUIRE(world.publisher->publish(spec("0.0.0.0:8080:80")));
  auto client = world.connect();
  world.accept();
  world.gate.ingress = [](const auto&) { return false; };
  world.relay->judge_again(RevokedFlows::keep);
  client->feed("more");
  world.serve();
  CHECK(world.port.seen.back().payload == "more");
  world.gate.ingress = [](const auto&) { return true; };
  world.relay->judge_again(RevokedFlows::reset);
  CHECK_FALSE(client->closed());
  world.relay->each_flow([](const auto& sight) { CHECK(sight.record.grant.id == 1); });
  CHECK(world.gate.ends.empty());
}

TEST_CASE("where no guest was ever heard a client is reset after a second") {
  PublishWorld world;
  REQUIRE(world.publisher->publish(spec("0.0.0.0:8080:80")));
  world.guest_heard = false;
  auto client = world.connect();
  world.pass(500ms);
  CHECK_FALSE(client->closed());
  world.pass(750ms);
  CHECK(client->was_reset());
  CHECK(world.relay->counters().flows == 0);
}

TEST_CASE("a guest that never had anything to say is reached") {
  PublishWorld world;
  REQUIRE(world.publisher->publish(spec("0.0.0.0:8080:80")));
  world.guest_heard = false;
  auto client = world.connect();
  world.accept();
  world.pass(60s);
  CHECK_FALSE(client->closed());
}

TEST_CASE("a client of a guest that does not answer is reset after 10 s") {
  PublishWorld world;
  REQUIRE(world.publisher->publish(spec("0.0.0.0:8080:80")));
  auto client = world.connect();
  world.pass(9s);
  CHECK_FALSE(client->closed());
  world.pass(2s);
  CHECK(client->was_reset());
  CHECK(world.relay->counters().flows == 0);
}

TEST_CASE("a client whose port the guest refuses is reset") {
  PublishWorld world;
  REQUIRE(world.publisher->publish(spec("0.0.0.0:8080:80")));
  auto client = world.connect();
  SeenSegment syn = world.port.seen.back();
  world.input(syn.destination, syn.source,
              {.sequence = 0, .acknowledgment = syn.sequence + 1, .flags = kRst | kAck});
  world.serve();
  CHECK(client->was_reset());
}

TEST_CASE("past the relay's limit of flows a client is reset") {
  flow::TcpLimits limits;
  limits.flows = 1;
  PublishWorld world(limits);
  REQUIRE(world.publisher->publish(spec("0.0.0.0:8080:80")));
  world.connect(at("203.0.113.5:1"));
  CHECK(world.connect(at("203.0.113.5:2"))->was_reset());
  CHECK(world.publisher->counters().failed == 1);
}

TEST_CASE(
    "any number of clients may come and go: those that are over keep neither port nor place") {
  PublishWorld world;
  REQUIRE(world.publisher->publish(spec("127.0.0.1:8080:80")));
  // More than the gateway has ports for clients, and than there may be flows; none rests out.
  for (int i = 0; i < 17000; ++i) {
    auto client = world.connect(at("127.0.0.1:4000"));
    REQUIRE_FALSE(client->was_reset());
    SeenSegment syn = world.port.seen.back();
    std::uint32_t ours = syn.sequence + 1;
    auto guest = [&](std::uint32_t sequence, std::uint32_t acknowledgment, std::uint8_t flags) {
      world.input(syn.destination, syn.source,
                  {.sequence = sequence, .acknowledgment = acknowledgment, .flags = flags});
      world.serve();
    };
    guest(7000, ours, kSyn | kAck);
    client->feed_end();
    world.serve();
    guest(7001, ours + 1, kFin | kAck);
    world.port.take();
  }
  CHECK(world.publisher->counters().accepted == 17000);
}

TEST_CASE("a range of ports is published whole or not at all") {
  PublishWorld world;
  REQUIRE(world.publisher->publish(spec("0.0.0.0:8002:1")));
  auto ports = world.publisher->publish(spec("0.0.0.0:8000-8003:80-83"));
  REQUIRE_FALSE(ports);
  CHECK(ports.status().code() == StatusCode::already_exists);
  CHECK(world.publisher->ports().size() == 1);
  CHECK(world.net.listeners[1]->closed());
  REQUIRE(world.publisher->publish(spec("0.0.0.0:9000-9003:80-83")));
  world.connect();
  CHECK(world.port.seen.back().destination.port == Port(83));
}

TEST_CASE("a port that is not published any more takes no clients; live ones as asked") {
  PublishWorld world;
  REQUIRE(world.publisher->publish(spec("0.0.0.0:8080:80")));
  auto client = world.connect();
  LiveFlows live = GENERATE(LiveFlows::keep, LiveFlows::reset);
  CHECK(world.publisher->unpublish(spec("0.0.0.0:8080:81"), live).code() == StatusCode::not_found);
  CHECK(world.publisher->unpublish(spec("0.0.0.0:8080:80"), live));
  world.serve();
  CHECK(world.net.listeners[0]->closed());
  CHECK(client->was_reset() == (live == LiveFlows::reset));
}

TEST_CASE("a client of a Unix socket is seen as the gateway") {
  PublishWorld world;
  PublishSpec local = spec("0.0.0.0:8080:80");
  local.unix_path = "/run/web.sock";
  REQUIRE(world.publisher->publish(local));
  auto client = world.net.listeners[0]->connect(kClient);
  client->remote.reset();
  world.serve();
  CHECK(world.port.seen.back().source.address == kGateway);
}

TEST_CASE("UDP clients keep the address that the guest sees, and get its answers") {
  PublishWorld world;
  REQUIRE(world.publisher->publish(spec("0.0.0.0:5353:53/udp")));
  Endpoint local = at("127.0.0.1:4000"), guest{kGuestPort.address, Port(53)};
  world.feed(local, "one");
  world.feed(local, "two");
  world.feed(kClient, "three");
  auto seen = datagrams_in(world.output);
  REQUIRE(seen.size() == 3);
  CHECK(seen[0].from.address == kGateway);
  CHECK(seen[0].to == guest);
  CHECK(seen[1].from == seen[0].from);
  CHECK(seen[2].from == kClient);
  CHECK(world.from_guest(guest, seen[0].from, "answer"));
  CHECK(world.net.datagrams[0]->sent.at(0).to == local);
  CHECK_FALSE(world.from_guest(guest, at("203.0.113.9:9"), "to somebody else"));
}

TEST_CASE("a UDP client that a new policy denies ends at once, unless it is to be kept") {
  PublishWorld world;
  REQUIRE(world.publisher->publish(spec("0.0.0.0:5353:53/udp")));
  Endpoint guest{kGuestPort.address, Port(53)}, other = at("198.51.100.1:1");
  world.feed(kClient, "1");
  world.feed(other, "2");
  world.gate.ingress = [](const auto& from) { return from != kClient; };
  world.publisher->judge_again(RevokedFlows::keep);
  CHECK(world.publisher->counters().udp_mappings == 2);
  CHECK(world.from_guest(guest, kClient, "answer"));
  world.output.packets.clear();
  world.publisher->judge_again(RevokedFlows::reset);
  CHECK(world.gate.ends ==
        std::vector<std::string>{"udp 1: the policy does not allow it any more"});
  CHECK(world.publisher->counters().udp_mappings == 1);
  // Still its client, so that the answer does not leave as something that the guest began.
  CHECK(world.from_guest(guest, kClient, "late"));
  world.feed(kClient, "late");
  CHECK(world.output.packets.empty());
  CHECK(world.from_guest(guest, other, "answer"));
  CHECK(world.net.datagrams[0]->sent.size() == 2);
  world.gate.ingress = [](const auto&) { return true; };
  world.publisher->judge_again(RevokedFlows::reset);
  world.feed(kClient, "anew");
  CHECK(datagrams_in(world.output).back().data == "anew");
  CHECK(world.gate.ends.size() == 1);
  CHECK(world.publisher->counters().udp_mappings == 2);
}

TEST_CASE("UDP clients are forgotten after a while, the idle longest past the limit") {
  PublishWorld world({}, 2);
  REQUIRE(world.publisher->publish(spec("0.0.0.0:5353:53/udp")));
  Endpoint guest{kGuestPort.address, Port(53)};
  world.feed(at("203.0.113.5:1"), "x");
  world.pass(1s);
  world.feed(at("203.0.113.5:2"), "x");
  world.pass(1s);
  world.feed(at("203.0.113.5:3"), "x");
  CHECK(world.publisher->counters().udp_mappings == 2);
  CHECK(world.publisher->counters().udp_evicted == 1);
  CHECK_FALSE(world.from_guest(guest, at("203.0.113.5:1"), "late"));
  CHECK(world.from_guest(guest, at("203.0.113.5:3"), "answer"));
  world.pass(36s);
  CHECK(world.publisher->counters().udp_mappings == 1);
  world.pass(150s);
  CHECK(world.publisher->counters().udp_mappings == 0);
}

TEST_CASE("a UDP port that is not published any more forgets its clients") {
  PublishWorld world;
  REQUIRE(world.publisher->publish(spec("0.0.0.0:5353:53/udp")));
  world.feed(kClient, "x");
  world.net.datagrams[0]->feed(kClient, "y");
  world.settle();
  CHECK(world.publisher->unpublish(spec("0.0.0.0:5353:53/udp"), LiveFlows::keep));
  CHECK(world.publisher->counters().udp_mappings == 0);
  CHECK_FALSE(world.from_guest({kGuestPort.address, Port(53)}, kClient, "late"));
  CHECK_FALSE(world.publisher->has_work());
}
