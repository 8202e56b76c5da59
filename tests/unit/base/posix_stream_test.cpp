#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <array>
#include <catch2/catch.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/loop_runner.h"
#include "base/posix_address.h"
#include "base/posix_net.h"
#include "base/socket_log.h"

using namespace sluice;
using namespace std::chrono_literals;
using test::receive_all;
using test::send_text;
using test::SocketLog;

namespace {

Endpoint loopback(Family family, std::uint16_t port = 0) {
  return {IpAddress::loopback(family), Port(port)};
}

struct World {
  test::LoopRunner runner;
  std::unique_ptr<PosixNet> net = std::make_unique<PosixNet>(runner.loop().poller());
};

/// A connected pair over loopback TCP: one end dialled, the other accepted.
struct Pair : World {
  explicit Pair(Family family = Family::v4) {
    listener = std::move(net->listen_tcp(loopback(family)).value());
    listener->set_handler(&listener_log);
    near = std::move(net->dial_tcp(*listener->local()).value());
    near->set_handler(&near_log);
    REQUIRE(runner.run_until([&] { return near_log.writable && listener_log.readable; }));
    REQUIRE(near->connect_result() == 0);
    far = std::move(listener->accept().socket);
    REQUIRE(far);
    far->set_handler(&far_log);
  }

  SocketLog listener_log, near_log, far_log;
  std::unique_ptr<ListenSocket> listener;
  std::unique_ptr<StreamSocket> near, far;
};

/// What a peek shows, or how it fails.
std::string peek_text(StreamSocket& socket, std::size_t offset, std::size_t most) {
  std::string text(most, '\0');
  iovec piece{text.data(), text.size()};
  IoResult result = socket.peek(offset, {&piece, 1});
  if (result.would_block()) return "again";
  if (!result.ok()) return "error";
  if (result.bytes == 0) return "end";
  text.resize(result.bytes);
  return text;
}

}  // namespace

TEST_CASE("a dialled connection carries bytes both ways, over IPv4 and IPv6") {
  Family family = GENERATE(Family::v4, Family::v6);
  Pair pair(family);
  CHECK(pair.near->peer() == pair.far->local());
  CHECK(pair.near->local() == pair.far->peer());
  CHECK(send_text(*pair.near, "ping").bytes == 4);
  CHECK(send_text(*pair.far, "pong").bytes == 4);
  REQUIRE(pair.runner.run_until([&] { return pair.near_log.readable && pair.far_log.readable; }));
  CHECK(pair.near->pending_bytes() == 4);
  std::string near_got, far_got;
  CHECK(receive_all(*pair.near, near_got).ok());
  CHECK(receive_all(*pair.far, far_got).ok());
  CHECK(near_got == "pong");
  CHECK(far_got == "ping");
}

TEST_CASE("what is peeked at stays until it is read or discarded, over IPv4 and IPv6") {
  Family family = GENERATE(Family::v4, Family::v6);
  Pair pair(family);
  if (!pair.near->can_peek()) {
    WARN("skipped: this kernel's TCP has no SO_PEEK_OFF (Linux 6.10 has)");
    return;
  }
  REQUIRE(send_text(*pair.far, "abcdefghij").bytes == 10);
  REQUIRE(pair.runner.run_until([&] { return pair.near->pending_bytes() == 10; }));
  CHECK(peek_text(*pair.near, 0, 3) == "abc");
  CHECK(peek_text(*pair.near, 3, 3) == "def");
  CHECK(peek_text(*pair.near, 1, 2) == "bc");
  CHECK(pair.near->discard(2));
  CHECK(peek_text(*pair.near, 1, 4) == "defg");
  CHECK(peek_text(*pair.near, 5, 40) == "hij");
  CHECK(peek_text(*pair.near, 8, 1) == "again");
  std::array<char, 4> bytes{};
  iovec piece{bytes.data(), bytes.size()};
  CHECK(pair.near->receive({&piece, 1}).bytes == 4);
  CHECK(std::string_view(bytes.data(), 4) == "cdef");
  CHECK(peek_text(*pair.near, 1, 2) == "hi");
  CHECK_FALSE(pair.near->discard(5));
  CHECK(pair.near->pending_bytes() == 0);
  pair.far->shutdown_send();
  REQUIRE(pair.runner.run_until([&] { return pair.near->stops_early(); }));
  CHECK(peek_text(*pair.near, 0, 1) == "end");
}

TEST_CASE("what was received before a reset can still be peeked at and discarded") {
  Pair pair;
  if (!pair.near->can_peek()) return;
  REQUIRE(send_text(*pair.far, "last words").bytes == 10);
  REQUIRE(pair.runner.run_until([&] { return pair.near->pending_bytes() == 10; }));
  pair.far->reset_on_close();
  pair.far.reset();
  REQUIRE(pair.runner.run_until([&] { return pair.near->stops_early(); }));
  CHECK(peek_text(*pair.near, 0, 4) == "last");
  CHECK(peek_text(*pair.near, 5, 40) == "words");
  CHECK(pair.near->discard(10));
  CHECK(peek_text(*pair.near, 0, 1) == "error");
}

TEST_CASE("a byte sent as urgent is one among the others, RFC 6093") {
  World world;
  auto listener = std::move(world.net->listen_tcp(loopback(Family::v4)).value());
  SocketLog listener_log, log;
  listener->set_handler(&listener_log);
  UniqueFd client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  SocketAddress address(*listener->local());
  REQUIRE(::connect(client.get(), address.get(), address.size()) == 0);
  REQUIRE(world.runner.run_until([&] { return listener_log.readable; }));
  auto near = std::move(listener->accept().socket);
  near->set_handler(&log);
  bool peeks = GENERATE(false, true);
  if (peeks && !near->can_peek()) return;
  REQUIRE(::send(client.get(), "ab", 2, 0) == 2);
  REQUIRE(::send(client.get(), "c", 1, MSG_OOB) == 1);
  REQUIRE(::send(client.get(), "de", 2, 0) == 2);
  REQUIRE(world.runner.run_until([&] { return near->pending_bytes() == 5 && log.readable; }));
  if (!peeks) {
    // As who relays it does: no call after one that said that nothing else is there.
    std::string got;
    CHECK(receive_all(*near, got).would_block());
    CHECK(got == "abcde");
    return;
  }
  std::string seen;
  while (seen.size() < 5) {
    std::string more = peek_text(*near, seen.size(), 9);
    REQUIRE(more.size() <= 5 - seen.size());
    seen += more;
  }
  CHECK(seen == "abcde");
  CHECK(near->discard(5));
  CHECK(near->pending_bytes() == 0);
}

TEST_CASE("a refused connection says so through connect_result()") {
  World world;
  Endpoint closed;
  {
    auto listener = world.net->listen_tcp(loopback(Family::v4));
    closed = *(*listener)->local();
  }
  SocketLog log;
  auto socket = std::move(world.net->dial_tcp(closed).value());
  socket->set_handler(&log);
  REQUIRE(world.runner.run_until([&] { return log.calls > 0; }));
  CHECK(socket->connect_result() == ECONNREFUSED);
}

TEST_CASE("a destination that the kernel refuses at once is reported like any other") {
  World world;
  SocketLog log;
  // The limited broadcast address is no place for TCP: connect() itself fails.
  auto socket =
      std::move(world.net->dial_tcp({IpAddress::v4(255, 255, 255, 255), Port(80)}).value());
  CHECK(log.calls == 0);
  socket->set_handler(&log);
  REQUIRE(world.runner.run_until([&] { return log.calls > 0; }));
  CHECK(socket->connect_result() != 0);
}

TEST_CASE("a connection to itself counts as refused") {
  World world;
  int found = 0;
  // The kernel chooses the source port; ask for those it gives out next until one dial meets
  // itself, or give up: then this machine does not do it.
  for (int i = 0; i < 400 && found == 0; ++i) {
    UniqueFd probe(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    SocketAddress any(loopback(Family::v4));
    REQUIRE(::bind(probe.get(), any.get(), any.size()) == 0);
    Endpoint target = *local_endpoint(probe.get());
    probe.reset();
    SocketLog log;
    auto socket = std::move(world.net->dial_tcp(target).value());
    socket->set_handler(&log);
    REQUIRE(world.runner.run_until([&] { return log.calls > 0; }));
    found = socket->connect_result();
  }
  CHECK(found == ECONNREFUSED);
}

TEST_CASE("end of stream is seen however short the reads are") {
  Pair pair;
  std::string got;
  bool ended = false;
  // Reads once per readiness, and again only while the last read says that more may come.
  pair.far_log.on_ready = [&](SocketReady) {
    while (true) {
      char buffer[16];
      iovec piece{buffer, sizeof buffer};
      IoResult result = pair.far->receive({&piece, 1});
      if (!result.ok()) return;
      if (result.bytes == 0) {
        ended = true;
        return;
      }
      got.append(buffer, result.bytes);
      if (result.drained) return;
    }
  };
  SECTION("data and FIN arrive together") {
    send_text(*pair.near, "last words");
    pair.near->shutdown_send();
  }
  SECTION("the FIN comes later") {
    send_text(*pair.near, "last words");
    REQUIRE(pair.runner.run_until([&] { return got == "last words"; }));
    pair.near->shutdown_send();
  }
  REQUIRE(pair.runner.run_until([&] { return ended; }));
  CHECK(got == "last words");
}

TEST_CASE("half-close leaves the other direction open") {
  Pair pair;
  pair.near->shutdown_send();
  REQUIRE(pair.runner.run_until([&] { return pair.far_log.readable; }));
  std::string nothing, got;
  CHECK(receive_all(*pair.far, nothing).bytes == 0);
  CHECK(send_text(*pair.far, "still here").ok());
  REQUIRE(pair.runner.run_until([&] { return pair.near_log.readable; }));
  receive_all(*pair.near, got);
  CHECK(got == "still here");
}

TEST_CASE("a reset connection ends as one for the peer") {
  Pair pair;
  send_text(*pair.near, "unsent");
  pair.near->reset_on_close();
  pair.near.reset();
  REQUIRE(pair.runner.run_until([&] { return pair.far_log.error; }));
  CHECK(pair.far->take_error() == ECONNRESET);
}

TEST_CASE("a peer that does not read blocks the sender, and reading wakes it") {
  Pair pair;
  std::string chunk(256 * 1024, 'x');
  std::size_t sent = 0, received = 0;
  IoResult result;
  // Loopback moves bytes in the kernel's own time: full is when no more goes in for a while.
  pair.near_log.on_ready = [&](SocketReady ready) {
    if (!ready.writable) return;
    do {
      result = send_text(*pair.near, chunk);
      sent += result.bytes;
    } while (result.ok() && !result.drained);
  };
  pair.near_log.on_ready({.writable = true});
  pair.runner.run_for(50ms);
  CHECK((result.would_block() || result.drained));
  std::size_t before = sent;

  auto drain = [&] {
    std::string got;
    IoResult last = receive_all(*pair.far, got, 1 << 20);
    received += got.size();
    return last;
  };
  REQUIRE(pair.runner.run_until([&] {
    drain();
    return sent > before;
  }));
  pair.near->set_handler(nullptr);
  pair.near->shutdown_send();
  REQUIRE(pair.runner.run_until([&] {
    IoResult last = drain();
    return last.ok() && last.bytes == 0;
  }));
  CHECK(received == sent);
}

TEST_CASE("readiness that came without a handler is reported to the next one") {
  Pair pair;
  pair.far->set_handler(nullptr);
  send_text(*pair.near, "early");
  pair.runner.run_for(10ms);
  pair.far_log.clear();
  pair.far->set_handler(&pair.far_log);
  CHECK(pair.far_log.calls == 0);
  REQUIRE(pair.runner.run_until([&] { return pair.far_log.readable; }));
}

TEST_CASE("a handler may destroy any socket while readiness is being delivered") {
  World world;
  constexpr std::size_t kPairs = 40;
  SocketLog listener_log;
  auto listener = std::move(world.net->listen_tcp(loopback(Family::v4)).value());
  listener->set_handler(&listener_log);
  std::vector<std::unique_ptr<StreamSocket>> dialled(kPairs), accepted;
  std::vector<SocketLog> logs(kPairs);
  std::size_t connected = 0;
  for (std::size_t i = 0; i < kPairs; ++i) {
    logs[i].on_ready = [&, i](SocketReady) {
      if (dialled[i]->connect_result() == 0) ++connected;
    };
    dialled[i] = std::move(world.net->dial_tcp(*listener->local()).value());
    dialled[i]->set_handler(&logs[i]);
  }
  REQUIRE(world.runner.run_until([&] {
    while (auto socket = listener->accept().socket) accepted.push_back(std::move(socket));
    return accepted.size() == kPairs && connected >= kPairs;
  }));
  // All become ready at once; whoever is first destroys all others and opens new ones in their
  // places, which must not get the events of the old.
  std::vector<std::unique_ptr<StreamSocket>> fresh;
  SocketLog fresh_log;
  int deliveries = 0;
  for (auto& log : logs) {
    log.on_ready = [&](SocketReady) {
      ++deliveries;
      dialled.clear();
      for (std::size_t i = 0; i < kPairs; ++i) {
        auto socket = std::move(world.net->dial_tcp(*listener->local()).value());
        socket->set_handler(&fresh_log);
        fresh.push_back(std::move(socket));
      }
    };
  }
  for (auto& socket : accepted) send_text(*socket, "x");
  REQUIRE(world.runner.run_until([&] { return fresh_log.calls >= static_cast<int>(kPairs); }));
  CHECK(deliveries == 1);
  CHECK_FALSE(fresh_log.readable);
}

TEST_CASE("TCP sockets do without Nagle, keep alive after two hours and don't leak into children") {
  World world;
  auto listener = std::move(world.net->listen_tcp(loopback(Family::v4)).value());
  auto near = std::move(world.net->dial_tcp(*listener->local()).value());
  // The seam hides descriptors: look at all that this process has of TCP, connected.
  int looked_at = 0;
  for (int fd = 3; fd < 256; ++fd) {
    if (!peer_endpoint(fd)) continue;
    int nodelay = 0, idle = 0;
    socklen_t size = sizeof nodelay;
    if (::getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &nodelay, &size) != 0) continue;
    size = sizeof idle;
    ::getsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, &size);
    CHECK(nodelay != 0);
    CHECK(idle == 7200);
    CHECK((::fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
    ++looked_at;
  }
  CHECK(looked_at >= 1);
}
