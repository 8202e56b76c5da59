#include <catch2/catch.hpp>
#include <vector>

#include "base/socket_log.h"
#include "support/scripted_net.h"
#include "support/virtual_loop.h"

using namespace sluice;
using namespace std::chrono_literals;
using test::receive_all;
using test::ScriptedNet;
using test::send_text;
using test::SocketLog;
using test::VirtualLoop;

namespace {
const Endpoint kServer{IpAddress::v4(192, 0, 2, 1), Port(80)};
}

TEST_CASE("virtual time moves only when it is advanced, and stops at each timer") {
  VirtualLoop loop;
  TimePoint start = loop.now();
  std::vector<Duration> fired;
  auto a = loop.make_timer([&] { fired.push_back(loop.now() - start); });
  auto b = loop.make_timer([&] {
    fired.push_back(loop.now() - start);
    a->start(5ms);
  });
  b->start(10ms);
  a->start(20ms);
  loop.advance(9ms);
  CHECK(fired.empty());
  loop.advance(100ms);
  CHECK(fired == std::vector<Duration>{10ms, 15ms});
  CHECK(loop.now() - start == 109ms);
  CHECK_FALSE(loop.advance_to_next_timer());
}

TEST_CASE("a virtual timer may destroy itself in its callback") {
  VirtualLoop loop;
  std::unique_ptr<Timer> timer;
  std::string seen;
  timer = loop.make_timer([&, text = std::string(64, 'x')] {
    timer.reset();
    seen = text;
  });
  timer->start(1ms);
  loop.advance(1ms);
  CHECK(seen.size() == 64);
  CHECK(loop.active_timers() == 0);
}

TEST_CASE("a scripted stream is connected, fed, blocked and ended by the test") {
  VirtualLoop loop;
  ScriptedNet net(loop);
  SocketLog log;
  auto socket = std::move(net.dial_tcp(kServer).value());
  socket->set_handler(&log);
  auto& server = *net.dials.back();
  loop.run_ready();
  CHECK(log.calls == 0);
  CHECK(server.remote == kServer);
  server.connect();
  CHECK(log.calls == 0);
  loop.run_ready();
  CHECK(log.writable);
  CHECK(socket->connect_result() == 0);

  server.set_send_room(3);
  CHECK(send_text(*socket, "hello").bytes == 3);
  CHECK(send_text(*socket, "lo").would_block());
  log.clear();
  server.set_send_room(test::kUnlimited);
  loop.run_ready();
  CHECK(log.writable);
  CHECK(send_text(*socket, "lo").ok());
  CHECK(server.sent() == "hello");

  log.clear();
  server.feed("answer");
  server.feed_end();
  loop.run_ready();
  CHECK(log.calls == 1);
  std::string got;
  IoResult last = receive_all(*socket, got, 4);
  CHECK(got == "answer");
  CHECK((last.ok() && last.bytes == 0));
  socket->shutdown_send();
  CHECK(server.saw_end());
  socket.reset();
  CHECK(server.closed());
  CHECK_FALSE(server.was_reset());
}

TEST_CASE("a scripted stream is refused or reset by the test") {
  VirtualLoop loop;
  ScriptedNet net(loop);
  SocketLog log;
  auto refused = std::move(net.dial_tcp(kServer).value());
  refused->set_handler(&log);
  net.dials[0]->refuse(ECONNREFUSED);
  loop.run_ready();
  CHECK(log.error);
  CHECK(refused->connect_result() == ECONNREFUSED);

  net.on_dial = [](test::StreamPeer& peer) { peer.connect(); };
  auto reset = std::move(net.dial_tcp(kServer).value());
  net.dials[1]->reset();
  char byte;
  iovec piece{&byte, 1};
  CHECK(reset->receive({&piece, 1}).error == ECONNRESET);
}

TEST_CASE("a scripted listener gives the connections that the test makes") {
  VirtualLoop loop;
  ScriptedNet net(loop);
  SocketLog log;
  auto listener = std::move(net.listen_tcp({IpAddress::any(Family::v4), Port()}).value());
  listener->set_handler(&log);
  auto client = net.listeners[0]->connect(kServer);
  client->feed("early");
  loop.run_ready();
  CHECK(log.readable);
  auto accepted = listener->accept();
  REQUIRE(accepted.socket);
  CHECK(accepted.socket->peer() == kServer);
  std::string got;
  receive_all(*accepted.socket, got);
  CHECK(got == "early");
  CHECK(listener->accept().error == EAGAIN);
}

TEST_CASE("a scripted datagram socket shows what is sent and gives what is fed") {
  VirtualLoop loop;
  ScriptedNet net(loop);
  SocketLog log;
  auto socket = std::move(net.open_udp({IpAddress::any(Family::v4), Port()}).value());
  socket->set_handler(&log);
  auto& world = *net.datagrams.back();
  world.on_send = [&](const test::SentDatagram& sent) { world.feed(sent.to, "re: " + sent.data); };
  std::string text = "query";
  iovec piece{text.data(), text.size()};
  OutDatagram datagram{kServer, {&piece, 1}};
  CHECK(socket->send_batch({&datagram, 1}).bytes == 1);
  loop.run_ready();
  CHECK(log.readable);
  auto got = socket->receive_batch().datagrams;
  REQUIRE(got.size() == 1);
  CHECK(got[0].peer == kServer);
  CHECK(std::string(got[0].data.begin(), got[0].data.end()) == "re: query");
}
