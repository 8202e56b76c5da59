#include <catch2/catch.hpp>
#include <cerrno>

#include "flow/datagram_world.h"

using namespace sluice;
using namespace sluice::test;
using namespace std::chrono_literals;

namespace {

const IpAddress kGuest = ip("192.168.127.2");
const IpAddress kRemote = ip("198.51.100.7");

/// What the far host makes of a request that left the ping socket.
std::string answer_to(const SentDatagram& request) {
  std::string reply = request.data;
  reply[0] = static_cast<char>(request.to.address.is_v4() ? 0 : 129);
  return reply;
}

/// The echo replies that reached the guest: identifier, sequence and data.
struct Reply {
  IpAddress from;
  std::uint16_t identifier;
  std::uint16_t sequence;
  std::string data;
  friend bool operator==(const Reply&, const Reply&) = default;
};
std::vector<Reply> replies_in(const PacketLog& log) {
  std::vector<Reply> out;
  for (const auto& bytes : log.packets) {
    auto packet = wire::Packet::parse(bytes);
    if (!packet) continue;
    auto echo = wire::IcmpView::parse(packet->family(), packet->payload());
    if (!echo || !echo->is_echo_reply()) continue;
    if (!echo->checksum_ok(packet->source(), packet->destination())) continue;
    out.push_back(
        {packet->source(), echo->identifier(), echo->sequence(), text_of(echo->payload())});
  }
  return out;
}

}  // namespace

TEST_CASE("an echo reply reaches the guest with its own identifier and sequence") {
  DatagramWorld world;
  world.ping(kGuest, kRemote, 77, 5, "data");
  REQUIRE(world.net.datagrams.size() == 1);
  auto& socket = *world.net.datagrams[0];
  CHECK(socket.kind == DatagramPeer::Kind::ping);
  REQUIRE(socket.sent.size() == 1);
  CHECK(socket.sent[0].to.address == kRemote);
  socket.feed({kRemote, Port()}, answer_to(socket.sent[0]));
  world.settle();
  CHECK(replies_in(world.output) == std::vector<Reply>{{kRemote, 77, 5, "data"}});
  CHECK(world.icmp.counters().pending == 0);
}

TEST_CASE("two programs that ping with the same identifier and sequence get their own replies") {
  DatagramWorld world;
  IpAddress other = ip("198.51.100.8");
  world.ping(kGuest, kRemote, 1, 1, "first");
  world.ping(kGuest, other, 1, 1, "second");
  auto& socket = *world.net.datagrams.at(0);
  socket.feed({other, Port()}, answer_to(socket.sent[1]));
  socket.feed({kRemote, Port()}, answer_to(socket.sent[0]));
  world.settle();
  CHECK(replies_in(world.output) ==
        std::vector<Reply>{{other, 1, 1, "second"}, {kRemote, 1, 1, "first"}});
}

TEST_CASE("a reply of somebody who was not asked, or a second one, does not reach the guest") {
  DatagramWorld world;
  world.ping(kGuest, kRemote, 1, 1);
  auto& socket = *world.net.datagrams.at(0);
  socket.feed({ip("198.51.100.8"), Port()}, answer_to(socket.sent[0]));
  world.settle();
  CHECK(world.output.packets.empty());
  socket.feed({kRemote, Port()}, answer_to(socket.sent[0]));
  socket.feed({kRemote, Port()}, answer_to(socket.sent[0]));
  socket.feed({kRemote, Port()}, "short");
  world.settle();
  CHECK(replies_in(world.output).size() == 1);
}

TEST_CASE("echo requests that the policy denies are prohibited, and no socket is opened") {
  DatagramWorld world;
  world.gate.echo = false;
  world.ping(kGuest, kRemote, 1, 1);
  auto errors = errors_in(world.output);
  REQUIRE(errors.size() == 1);
  CHECK(errors[0].error == wire::IcmpError::admin_prohibited);
  CHECK(world.net.datagrams.empty());
  CHECK(world.icmp.counters().refused_by_policy == 1);
}

TEST_CASE("where the host permits no ping socket the guest is told so") {
  DatagramWorld world;
  world.net.ping_status = Status(StatusCode::permission_denied, "no");
  world.ping(kGuest, kRemote, 1, 1);
  auto errors = errors_in(world.output);
  REQUIRE(errors.size() == 1);
  CHECK(errors[0].error == wire::IcmpError::admin_prohibited);
  CHECK(world.icmp.counters().not_permitted == 1);
}

TEST_CASE("a request without a reply is forgotten after 10 s") {
  DatagramWorld world;
  world.ping(kGuest, kRemote, 1, 1);
  world.pass(9s);
  CHECK(world.icmp.counters().pending == 1);
  world.pass(2s);
  CHECK(world.icmp.counters().pending == 0);
  auto& socket = *world.net.datagrams.at(0);
  socket.feed({kRemote, Port()}, answer_to(socket.sent[0]));
  world.settle();
  CHECK(world.output.packets.empty());
  CHECK(world.loop.active_timers() == 0);
}

TEST_CASE("past the limit of open requests the oldest is forgotten") {
  flow::IcmpLimits limits;
  limits.pending = 3;
  DatagramWorld world({}, limits);
  for (std::uint16_t i = 0; i < 3; ++i) world.ping(kGuest, kRemote, 1, i);
  CHECK(world.icmp.counters().evicted == 0);
  world.ping(kGuest, kRemote, 1, 3);
  CHECK(world.icmp.counters().pending == 3);
  CHECK(world.icmp.counters().evicted == 1);
  auto& socket = *world.net.datagrams.at(0);
  for (const auto& request : socket.sent) socket.feed({kRemote, Port()}, answer_to(request));
  world.settle();
  auto replies = replies_in(world.output);
  REQUIRE(replies.size() == 3);
  CHECK(replies[0].sequence == 1);
}

TEST_CASE("more requests than there are sequence numbers are served") {
  DatagramWorld world;
  world.ping(kGuest, kRemote, 1, 1);
  auto& socket = *world.net.datagrams.at(0);
  socket.on_send = [&](const SentDatagram& sent) {
    socket.feed({kRemote, Port()}, answer_to(sent));
  };
  for (int i = 0; i < 70000; ++i) {
    world.ping(kGuest, kRemote, 1, static_cast<std::uint16_t>(i));
    socket.sent.clear();
    world.output.packets.clear();
  }
  CHECK(world.icmp.counters().replies == 70000);
}

TEST_CASE("a time exceeded on the way is one to the guest, quoting its own request") {
  DatagramWorld world;
  world.ping(kGuest, kRemote, 77, 5, "data", 3);
  auto& socket = *world.net.datagrams.at(0);
  REQUIRE(socket.sent.size() == 1);
  CHECK(socket.sent[0].ttl == 2);
  SocketError error;
  error.error = EHOSTUNREACH;
  error.offender = ip("203.0.113.9");
  error.icmp_type = 11;
  error.payload.assign(socket.sent[0].data.begin(), socket.sent[0].data.end());
  socket.feed_error(error);
  world.settle();
  auto errors = errors_in(world.output);
  REQUIRE(errors.size() == 1);
  CHECK(errors[0].error == wire::IcmpError::ttl_exceeded);
  CHECK(errors[0].from == ip("203.0.113.9"));
  auto packet = wire::Packet::parse(world.output.packets[0]);
  auto quoted = wire::parse_quoted(Family::v4,
                                   wire::IcmpView::parse(Family::v4, packet->payload())->payload());
  REQUIRE(quoted);
  CHECK(quoted->destination == kRemote);
  CHECK(load_be16(quoted->transport.data() + 4) == 77);
  CHECK(load_be16(quoted->transport.data() + 6) == 5);
  CHECK(world.icmp.counters().pending == 0);
}

TEST_CASE("a destination that can't be reached is said so at once") {
  DatagramWorld world;
  world.ping(kGuest, kRemote, 1, 1);
  world.net.datagrams.at(0)->fail_send(ENETUNREACH);
  world.ping(kGuest, kRemote, 1, 2);
  auto errors = errors_in(world.output);
  REQUIRE(errors.size() == 1);
  CHECK(errors[0].error == wire::IcmpError::net_unreachable);
}

TEST_CASE("IPv6 echo uses a socket of its own") {
  DatagramWorld world;
  IpAddress from = ip("fd00::2"), to = ip("2001:db8::7");
  world.ping(kGuest, kRemote, 1, 1);
  world.ping(from, to, 2, 9, "six");
  REQUIRE(world.net.datagrams.size() == 2);
  auto& socket = *world.net.datagrams[1];
  socket.feed({to, Port()}, answer_to(socket.sent.at(0)));
  world.settle();
  CHECK(replies_in(world.output) == std::vector<Reply>{{to, 2, 9, "six"}});
}

TEST_CASE("one rate limit holds for the errors of all relays together") {
  DatagramWorld world;
  world.gate.echo = false;
  world.gate.udp = [](const Endpoint&) { return flow::UdpRoute{}; };
  for (int i = 0; i < 100; ++i) {
    world.ping(kGuest, kRemote, 1, 1);
    world.send({kGuest, Port(5000)}, {kRemote, Port(53)}, "x");
  }
  CHECK(errors_in(world.output).size() == 50);
  CHECK(world.answers.suppressed() == 150);
}
