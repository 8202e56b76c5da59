#include <catch2/catch.hpp>
#include <cerrno>
#include <cstring>
#include <map>
#include <vector>

#include "base/loop_runner.h"
#include "base/posix_net.h"
#include "base/socket_log.h"

using namespace sluice;
using namespace std::chrono_literals;
using test::SocketLog;

namespace {

struct World {
  test::LoopRunner runner;
  std::unique_ptr<PosixNet> net = std::make_unique<PosixNet>(runner.loop().poller());

  std::unique_ptr<DatagramSocket> udp(Family family = Family::v4) {
    return std::move(net->open_udp({IpAddress::loopback(family), Port()}).value());
  }
};

IoResult send_one(DatagramSocket& socket, const Endpoint& to, std::string_view text) {
  iovec piece{const_cast<char*>(text.data()), text.size()};
  OutDatagram datagram{to, {&piece, 1}};
  return socket.send_batch({&datagram, 1});
}

std::string text_of(const InDatagram& datagram) {
  return {reinterpret_cast<const char*>(datagram.data.data()), datagram.data.size()};
}

Endpoint closed_port(World& world, Family family) {
  return *world.udp(family)->local();
}

}  // namespace

TEST_CASE("datagrams arrive whole, with their sender and TTL, over IPv4 and IPv6") {
  Family family = GENERATE(Family::v4, Family::v6);
  World world;
  auto a = world.udp(family), b = world.udp(family);
  SocketLog log;
  b->set_handler(&log);
  a->set_ttl(7);
  std::string large(60000, 'y');
  CHECK(send_one(*a, *b->local(), "first").bytes == 1);
  CHECK(send_one(*a, *b->local(), large).bytes == 1);
  CHECK(send_one(*a, *b->local(), "").bytes == 1);
  REQUIRE(world.runner.run_until([&] { return log.readable; }));
  auto got = b->receive_batch().datagrams;
  REQUIRE(got.size() == 3);
  CHECK(text_of(got[0]) == "first");
  CHECK(got[0].peer == *a->local());
  CHECK(got[0].ttl == 7);
  CHECK(text_of(got[1]) == large);
  CHECK(got[2].data.empty());
  CHECK(b->receive_batch().datagrams.empty());
}

TEST_CASE("a batch larger than one system call goes out in order") {
  World world;
  auto a = world.udp(), b = world.udp();
  constexpr int kCount = 150;
  std::vector<std::string> texts;
  std::vector<iovec> pieces;
  std::vector<OutDatagram> batch;
  for (int i = 0; i < kCount; ++i) texts.push_back("datagram " + std::to_string(i));
  for (auto& text : texts) pieces.push_back({text.data(), text.size()});
  for (auto& piece : pieces) batch.push_back({*b->local(), {&piece, 1}});
  CHECK(a->send_batch(batch).bytes == kCount);
  std::vector<std::string> got;
  REQUIRE(world.runner.run_until([&] {
    for (auto more = b->receive_batch().datagrams; !more.empty();
         more = b->receive_batch().datagrams) {
      for (const auto& datagram : more) got.push_back(text_of(datagram));
    }
    return got.size() >= kCount;
  }));
  CHECK(got == texts);
}

TEST_CASE("datagrams of whatever sizes and peers arrive one by one, as they were sent") {
  Family family = GENERATE(Family::v4, Family::v6);
  World world;
  auto a = world.udp(family), b = world.udp(family), c = world.udp(family);
  // Runs of equal ones up to and past what the kernel cuts of one, with a shorter, a longer, an
  // empty or another peer's one behind them.
  std::vector<std::size_t> sizes;
  auto add = [&sizes](std::size_t count, std::size_t size) {
    sizes.insert(sizes.end(), count, size);
  };
  add(3, 1200), add(1, 900), add(2, 900), add(2, 901), add(1, 0), add(2, 0);
  add(DatagramBatch::kMostCut, 8), add(DatagramBatch::kMostCut + 1, 16);
  add(60, DatagramBatch::kMostCutSize), add(2, DatagramBatch::kMostCutSize + 1), add(1, 1);
  std::vector<std::string> texts;
  std::vector<iovec> pieces;
  std::vector<OutDatagram> batch;
  for (std::size_t size : sizes) {
    std::string text(size, static_cast<char>('a' + texts.size() % 26));
    for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>(text[i] ^ (i & 7));
    texts.push_back(std::move(text));
  }
  // In two pieces, as what waited in a guest's port may be.
  for (auto& text : texts) {
    std::size_t cut = text.size() / 3;
    pieces.push_back({text.data(), cut});
    pieces.push_back({text.data() + cut, text.size() - cut});
  }
  std::vector<std::string> for_b, for_c;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    bool to_c = i % 37 == 36;
    batch.push_back({to_c ? *c->local() : *b->local(), {&pieces[2 * i], 2}});
    (to_c ? for_c : for_b).push_back(texts[i]);
  }
  // Loopback hands each over as it is sent, and the receiver has room for all.
  CHECK(a->send_batch(batch).bytes == batch.size());
  auto received = [](DatagramSocket& socket) {
    std::vector<std::string> got;
    for (auto some = socket.receive_batch().datagrams; !some.empty();
         some = socket.receive_batch().datagrams) {
      for (const InDatagram& one : some) got.push_back(text_of(one));
    }
    return got;
  };
  CHECK(received(*b) == for_b);
  CHECK(received(*c) == for_c);
}

TEST_CASE("datagrams that the kernel joined come one by one, and fewer messages of them at once") {
  Family family = GENERATE(Family::v4, Family::v6);
  World world;
  auto a = world.udp(family), b = world.udp(family);
  // Each message that the kernel cuts arrives as one, over loopback, and the last is a shorter one.
  constexpr std::size_t kSent = 8;
  std::vector<std::string> texts;
  for (std::size_t i = 0; i < kSent * DatagramBatch::kMostCut; ++i) {
    bool is_last = i % DatagramBatch::kMostCut == DatagramBatch::kMostCut - 1;
    texts.push_back(std::string(is_last ? 999 : 1000, static_cast<char>('a' + i % 26)));
  }
  std::vector<iovec> pieces;
  std::vector<OutDatagram> batch;
  for (auto& text : texts) pieces.push_back({text.data(), text.size()});
  for (auto& piece : pieces) batch.push_back({*b->local(), {&piece, 1}});
  for (std::size_t messages : {kSent, DatagramBatch::kJoinedReceived}) {
    REQUIRE(a->send_batch(batch).bytes == batch.size());
    std::vector<std::string> got;
    std::size_t first = 0;
    for (bool drained = false; !drained;) {
      InBatch some = b->receive_batch();
      for (const InDatagram& one : some.datagrams) {
        CHECK(one.peer == *a->local());
        got.push_back(text_of(one));
      }
      if (first == 0) first = some.datagrams.size();
      drained = some.drained;
    }
    CHECK((got == texts));
    // Where the kernel joins none, one of these would be a batch of messages.
    if (first != DatagramBatch::kReceived) CHECK(first == messages * DatagramBatch::kMostCut);
  }
}

TEST_CASE("a closed port comes back as an error with the destination and the ICMP code") {
  Family family = GENERATE(Family::v4, Family::v6);
  World world;
  auto socket = world.udp(family);
  Endpoint closed = closed_port(world, family);
  SocketLog log;
  socket->set_handler(&log);
  CHECK(send_one(*socket, closed, "anyone?").bytes == 1);
  REQUIRE(world.runner.run_until([&] { return log.error; }));
  auto error = socket->take_queued_error();
  REQUIRE(error);
  CHECK(error->error == ECONNREFUSED);
  CHECK(error->destination == closed);
  CHECK(error->offender == closed.address);
  CHECK(int{error->icmp_type} == (family == Family::v4 ? 3 : 1));
  CHECK(int{error->icmp_code} == (family == Family::v4 ? 3 : 4));
  CHECK(std::string(error->payload.begin(), error->payload.end()) == "anyone?");
  CHECK_FALSE(socket->take_queued_error());
}

TEST_CASE("an error for one destination stops neither sending to nor receiving from another") {
  World world;
  auto socket = world.udp(), other = world.udp();
  Endpoint closed = closed_port(world, Family::v4);
  send_one(*socket, closed, "lost");
  send_one(*socket, closed, "lost");
  send_one(*other, *socket->local(), "hello");
  world.runner.run_for(5ms);
  CHECK(send_one(*socket, *other->local(), "sent").bytes == 1);
  send_one(*socket, closed, "lost");
  world.runner.run_for(5ms);
  auto got = socket->receive_batch().datagrams;
  REQUIRE(got.size() == 1);
  CHECK(text_of(got[0]) == "hello");
  world.runner.run_for(5ms);
  auto sent = other->receive_batch().datagrams;
  REQUIRE(sent.size() == 1);
  CHECK(text_of(sent[0]) == "sent");
}

TEST_CASE("a datagram that no packet can carry is refused and named by its place") {
  World world;
  auto socket = world.udp(), other = world.udp();
  std::string small = "small", huge(65508, 'z');
  iovec pieces[] = {{small.data(), small.size()}, {huge.data(), huge.size()}};
  OutDatagram batch[] = {{*other->local(), {&pieces[0], 1}}, {*other->local(), {&pieces[1], 1}}};
  CHECK(socket->send_batch(batch).bytes == 1);
  CHECK(socket->send_batch(std::span(batch).subspan(1)).error == EMSGSIZE);
}

TEST_CASE("a handler may destroy its datagram socket") {
  World world;
  auto a = world.udp(), b = world.udp();
  SocketLog log;
  log.on_ready = [&](SocketReady ready) {
    if (ready.readable) b.reset();
  };
  b->set_handler(&log);
  send_one(*a, *b->local(), "x");
  REQUIRE(world.runner.run_until([&] { return b == nullptr; }));
}

TEST_CASE("a ping socket gets the echo of loopback, or says that it is not permitted") {
  Family family = GENERATE(Family::v4, Family::v6);
  World world;
  auto opened = world.net->open_ping(family);
  if (!opened) {
    CHECK(opened.status().code() == StatusCode::permission_denied);
    return;
  }
  auto socket = std::move(*opened);
  SocketLog log;
  socket->set_handler(&log);
  std::string echo(16, '\0');
  echo[0] = static_cast<char>(family == Family::v4 ? 8 : 128);
  echo[7] = 5;  // Sequence number.
  echo.replace(8, 8, "payload!");
  CHECK(send_one(*socket, {IpAddress::loopback(family), Port()}, echo).bytes == 1);
  REQUIRE(world.runner.run_until([&] { return log.readable; }));
  auto got = socket->receive_batch().datagrams;
  REQUIRE(got.size() == 1);
  std::string reply = text_of(got[0]);
  REQUIRE(reply.size() == 16);
  CHECK(int{static_cast<unsigned char>(reply[0])} == (family == Family::v4 ? 0 : 129));
  CHECK(reply.substr(6) == echo.substr(6));
  CHECK(got[0].peer.address == IpAddress::loopback(family));
}

TEST_CASE("a socket for a question gets its answer, or hears that nobody is there") {
  Family family = GENERATE(Family::v4, Family::v6);
  World world;
  auto server = world.udp(family);
  auto client = std::move(world.net->open_query(family).value());
  SocketLog server_log, client_log;
  server->set_handler(&server_log);
  client->set_handler(&client_log);
  CHECK(send_one(*client, *server->local(), "question").bytes == 1);
  REQUIRE(world.runner.run_until([&] { return server_log.readable; }));
  auto asked = server->receive_batch().datagrams;
  REQUIRE(asked.size() == 1);
  CHECK(asked[0].peer.port == client->local()->port);
  CHECK(send_one(*server, asked[0].peer, "answer").bytes == 1);
  REQUIRE(world.runner.run_until([&] { return client_log.readable; }));
  auto got = client->receive_batch().datagrams;
  REQUIRE(got.size() == 1);
  CHECK(text_of(got[0]) == "answer");
  CHECK(got[0].peer == *server->local());

  CHECK(send_one(*client, closed_port(world, family), "nobody").bytes == 1);
  REQUIRE(world.runner.run_until([&] { return client_log.error; }));
  auto error = client->take_queued_error();
  REQUIRE(error);
  CHECK(error->error == ECONNREFUSED);
}
