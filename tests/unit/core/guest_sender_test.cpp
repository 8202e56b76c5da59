#include "core/guest_sender.h"

#include <catch2/catch.hpp>

#include "core/engine_world.h"
#include "wire/arp.h"
#include "wire/ethernet.h"

using namespace sluice;
using namespace sluice::test;
using namespace std::chrono_literals;

namespace {

const Endpoint kClient = endpoint("192.168.127.2:40000");
const Endpoint kServer = endpoint("203.0.113.5:7000");

std::string pattern(std::size_t size) {
  std::string out(size, '\0');
  for (std::size_t i = 0; i < size; ++i) out[i] = static_cast<char>(i * 31 + i / 251);
  return out;
}

}  // namespace

TEST_CASE("datagrams for the guest arrive whole, in fragments where they exceed the MTU") {
  auto [mtu, size, frames] = GENERATE(table<std::uint16_t, std::size_t, std::size_t>({
      {1500, 0, 1},
      {1500, 1, 1},
      {1500, 1472, 1},
      {1500, 1473, 2},
      {1500, 65507, 45},
      {1280, 1252, 1},
      {1280, 1253, 2},
      {65520, 65492, 1},
      {65520, 65493, 2},
      {65520, 65507, 2},
  }));
  INFO("MTU " << mtu << ", " << size << " bytes");
  NetworkConfig config = EngineWorld::with_rules("allow@any");
  config.mtu = mtu;
  EngineWorld world(config);
  world.send_udp(kClient, kServer, "?");
  std::string answer = pattern(size);
  world.net.datagrams.back()->feed(kServer, answer);
  world.settle();
  auto seen = world.datagram();
  REQUIRE(seen);
  CHECK(seen->source == kServer);
  CHECK(seen->destination == kClient);
  CHECK(seen->payload == answer);
  CHECK(seen->frames == frames);
}

TEST_CASE("datagrams that the guest's full NIC refuses are counted") {
  EngineWorld world(EngineWorld::with_rules("allow@any"));
  world.send_udp(kClient, kServer, "?");
  world.nic->full = true;
  for (int i = 0; i < 5; ++i) world.net.datagrams.back()->feed(kServer, "lost");
  world.settle();
  CHECK(world.drops("guest_port_full") == 5);
}

TEST_CASE("a datagram for an address behind a silent guest waits, and is counted as lost") {
  NetworkConfig config = EngineWorld::with_rules("allow@any");
  config.publish = {*parse_publish("8053:192.168.127.77:53/udp")};
  EngineWorld world(config);
  auto& port = *world.net.datagrams.front();
  for (int i = 0; i < 70; ++i) port.feed(endpoint("198.51.100.1:9999"), "question");
  world.settle();
  CHECK_FALSE(world.datagram());
  // Of what waits the oldest made room.
  CHECK(world.drops("guest_unresolved") == 70 - core::GuestSender::kMaxWaiting);
  world.pass(30s);
  CHECK(world.drops("guest_unresolved") == 70);
}

TEST_CASE("a datagram that waited for its neighbour arrives once that has answered") {
  NetworkConfig config = EngineWorld::with_rules("allow@any");
  config.mtu = 1500;
  config.publish = {*parse_publish("8053:53/udp")};
  VirtualLoop loop;
  ScriptedNet net(loop);
  ScriptedNic* nic = nullptr;
  auto engine = core::Engine::create(loop, net, std::move(config));
  REQUIRE(engine);
  REQUIRE((*engine)->attach(std::make_unique<ScriptedNic>(&nic)));
  nic->set_link(true);
  loop.run_ready();
  nic->frames.clear();
  std::string question = pattern(4000);
  net.datagrams.front()->feed(endpoint("198.51.100.1:9999"), question);
  loop.run_ready();
  REQUIRE(nic->frames.size() == 1);
  auto ethernet = wire::EthernetView::parse(nic->frames[0]);
  REQUIRE(ethernet->type() == wire::EtherType::arp);
  auto asked = wire::ArpPacket::parse(ethernet->payload());
  REQUIRE(asked);
  nic->frames.clear();

  wire::ArpPacket reply;
  reply.operation = wire::ArpOperation::reply;
  reply.sender_mac = kGuestMac;
  reply.sender_ip = asked->target_ip;
  reply.target_mac = asked->sender_mac;
  reply.target_ip = asked->sender_ip;
  std::vector<std::uint8_t> frame(60);
  wire::EthernetHeader{asked->sender_mac, kGuestMac, wire::EtherType::arp}.emit(frame);
  reply.emit(Bytes(frame).subspan(wire::kEthernetHeaderSize));
  nic->give(std::move(frame));
  loop.run_ready();
  CHECK(nic->frames.size() == 3);
}
