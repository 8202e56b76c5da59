#include "hostd/attach/dgram_port.h"

#include <sys/socket.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <deque>

#include "hostd/attach/unix_socket.h"
#include "hostd/port_kit.h"

namespace sluice::test {

using hostd::DgramPort;
using link::FrameClass;
using link::SendResult;

namespace {

sockaddr_un address_at(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  return address;
}

/// A VMM's socket, bound to `path` if it is not empty.
UniqueFd client_at(const std::string& path) {
  UniqueFd fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!path.empty()) {
    sockaddr_un address = address_at(path);
    ::unlink(path.c_str());
    REQUIRE(::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  }
  int size = 4 << 20;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
  return fd;
}

/// How a VMM talks to us: libkrun and vfkit connect, QEMU names us with each frame.
enum class Style { connects, names };

struct DatagramWorld {
  DatagramWorld() {
    auto socket = hostd::bind_unix_datagram(path());
    REQUIRE(socket);
    port = std::make_unique<DgramPort>(loop, std::move(*socket), DgramPort::Peer::learnt);
    port->set_on_closed([this] { ++closes; });
    port->set_handler(&guest);
  }

  std::string path() const { return directory.path("nic"); }
  void connect(const UniqueFd& client) const {
    sockaddr_un address = address_at(path());
    REQUIRE(::connect(client.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  }
  bool say(const UniqueFd& client, const std::string& frame) const {
    sockaddr_un address = address_at(path());
    auto to = reinterpret_cast<sockaddr*>(&address);
    return ::sendto(client.get(), frame.data(), frame.size(), 0, to, sizeof address) >= 0;
  }
  UniqueFd join(const std::string& name, Style style) {
    UniqueFd client = client_at(directory.path(name));
    if (style == Style::connects) connect(client);
    std::size_t links = guest.links.size();
    REQUIRE(say(client, "VFKT"));
    REQUIRE(run_until(loop, [&] { return guest.links.size() > links && guest.links.back(); }));
    return client;
  }
  static std::vector<std::string> hear(const UniqueFd& client) {
    std::vector<std::string> frames;
    std::string frame(1 << 17, '\0');
    while (true) {
      ssize_t n = ::recv(client.get(), frame.data(), frame.size(), 0);
      if (n < 0) return frames;
      frames.push_back(frame.substr(0, static_cast<std::size_t>(n)));
    }
  }
  void fill() {
    while (true) {
      filled.emplace_back(30000);
      if (port->send(filled.back().view(), FrameClass::data) == SendResult::full) break;
      REQUIRE(filled.size() < 10'000);
    }
    filled.pop_back();
    port->flush();
  }

  std::deque<CountedFrame> filled;  ///< Outlives the port.
  TempDirectory directory;
  VirtualLoop loop;
  Recorder guest;
  std::unique_ptr<DgramPort> port;
  int closes = 0;
};

}  // namespace

TEST_CASE("each datagram of the client is a frame, from 0 to 65550 bytes") {
  DatagramWorld world;
  UniqueFd client = world.join("client", GENERATE(Style::connects, Style::names));
  std::vector<std::string> sent = {"", "x", std::string(1514, 'y'), std::string(65550, 'z')};
  for (const std::string& frame : sent) REQUIRE(world.say(client, frame));
  REQUIRE(run_until(world.loop, [&] { return world.guest.frames.size() == sent.size(); }));
  CHECK(world.guest.frames == sent);
}

TEST_CASE("a datagram longer than any frame is dropped and counted") {
  auto size = GENERATE(65551u, 65600u, 65601u, 100000u);
  DatagramWorld world;
  UniqueFd client = world.join("client", Style::names);
  REQUIRE(world.say(client, std::string(size, 'x')));
  REQUIRE(world.say(client, "next"));
  REQUIRE(run_until(world.loop, [&] { return !world.guest.frames.empty(); }));
  CHECK(world.guest.frames == std::vector<std::string>{"next"});
  CHECK(world.port->counters().tx_malformed == 1);
}

TEST_CASE("the hello VFKT is no frame, and a client may go without it") {
  DatagramWorld world;
  UniqueFd client = client_at(world.directory.path("client"));
  bool says_hello = GENERATE(true, false);
  if (says_hello) REQUIRE(world.say(client, "VFKT"));
  REQUIRE(world.say(client, "VFKX"));
  REQUIRE(run_until(world.loop, [&] { return !world.guest.frames.empty(); }));
  CHECK(world.guest.frames == std::vector<std::string>{"VFKX"});
  CHECK(world.guest.links == std::vector<bool>{true});
}

TEST_CASE("frames for a datagram guest go to the address it bound, one each") {
  DatagramWorld world;
  UniqueFd client = world.join("client", GENERATE(Style::connects, Style::names));
  CountedFrame large(65000);
  CHECK(world.port->send(plain_frame("first"), FrameClass::control) == SendResult::sent);
  CHECK(world.port->send(large.view(), FrameClass::data) == SendResult::sent);
  world.port->flush();
  CHECK(DatagramWorld::hear(client) == std::vector<std::string>{"first", large.bytes()});
  CHECK(large.releases == 1);
}

TEST_CASE("a full datagram client gets everything that was taken, in order, once it reads") {
  DatagramWorld world;
  UniqueFd client = world.join("client", GENERATE(Style::connects, Style::names));
  world.fill();
  auto& frames = world.filled;
  CHECK(world.port->send(plain_frame("control"), FrameClass::control) == SendResult::sent);
  int later = 0;
  world.guest.on_space = [&] {
    if (world.port->send(plain_frame("later"), FrameClass::data) == SendResult::sent) ++later;
    world.port->flush();
  };
  std::vector<std::string> got;
  REQUIRE(run_until(world.loop, [&] {
    for (auto& frame : DatagramWorld::hear(client)) got.push_back(frame);
    return got.size() >= frames.size() + 2;
  }));
  REQUIRE(got.size() == frames.size() + 2);
  for (std::size_t i = 0; i < frames.size(); ++i) {
    REQUIRE(got[i] == frames[i].bytes());
    REQUIRE(frames[i].releases == 1);
  }
  CHECK(got[frames.size()] == "control");
  CHECK(got.back() == "later");
  CHECK(later == 1);
  CHECK(world.guest.spaces == 1);
}

TEST_CASE("a datagram client that reads is sent the next frames without time passing") {
  DatagramWorld world;
  UniqueFd client = world.join("client", GENERATE(Style::connects, Style::names));
  world.fill();
  auto& frames = world.filled;
  std::size_t got = 0;
  for (int turn = 0; turn < 1000 && got < frames.size(); ++turn) {
    got += DatagramWorld::hear(client).size();
    world.loop.poll_watches();
  }
  CHECK(got == frames.size());
}

TEST_CASE("a datagram client that stops reading wakes nobody but to look whether it lives") {
  DatagramWorld world;
  UniqueFd client = world.join("client", GENERATE(Style::connects, Style::names));
  world.fill();
  world.loop.poll_watches();
  for (int i = 0; i < 5; ++i) CHECK(world.loop.poll_watches() == 0);
  CHECK(world.loop.active_timers() == 1);
}

TEST_CASE("what waits for a datagram client is released once when it goes") {
  DatagramWorld world;
  UniqueFd client = world.join("client", GENERATE(Style::connects, Style::names));
  world.fill();
  auto& frames = world.filled;
  client.reset();
  REQUIRE(run_until(world.loop, [&] { return world.closes == 1; }));
  for (const CountedFrame& frame : frames) REQUIRE(frame.releases == 1);
  CHECK(world.guest.links == std::vector<bool>{true, false});
}

TEST_CASE("what waits for a datagram client is released once when the port is destroyed") {
  DatagramWorld world;
  UniqueFd client = world.join("client", Style::names);
  world.fill();
  auto& frames = world.filled;
  world.port.reset();
  for (const CountedFrame& frame : frames) REQUIRE(frame.releases == 1);
}

TEST_CASE("a client that goes is missed within a second, also where nothing is sent") {
  DatagramWorld world;
  UniqueFd client = world.join("client", GENERATE(Style::connects, Style::names));
  world.loop.advance(std::chrono::seconds(5));
  CHECK(world.closes == 0);
  client.reset();
  if (GENERATE(true, false)) ::unlink(world.directory.path("client").c_str());
  world.loop.advance(std::chrono::seconds(1));
  CHECK(world.closes == 1);
  CHECK(world.guest.links == std::vector<bool>{true, false});
}

TEST_CASE("a client that comes after the first one went is served at once, at any address") {
  DatagramWorld world;
  auto style = GENERATE(Style::connects, Style::names);
  std::string name = GENERATE("client", "another");
  UniqueFd first = world.join("client", style);
  first.reset();
  if (name == "client") {
    // Nothing tells the kernel's two sockets of one address apart; the sender just goes on.
    UniqueFd second = client_at(world.directory.path(name));
    REQUIRE(world.say(second, "frame"));
    REQUIRE(run_until(world.loop, [&] { return !world.guest.frames.empty(); }));
    world.port->send(plain_frame("answer"), FrameClass::control);
    world.port->flush();
    CHECK(DatagramWorld::hear(second) == std::vector<std::string>{"answer"});
  } else {
    UniqueFd second = client_at(world.directory.path(name));
    REQUIRE(world.say(second, "frame"));
    world.loop.poll_watches();
    CHECK(world.guest.frames == std::vector<std::string>{"frame"});
    CHECK(world.guest.links == std::vector<bool>{true, false, true});
    CHECK(world.closes == 1);
    world.port->send(plain_frame("answer"), FrameClass::control);
    world.port->flush();
    CHECK(DatagramWorld::hear(second) == std::vector<std::string>{"answer"});
  }
}

TEST_CASE("a second client beside a living one is ignored") {
  DatagramWorld world;
  UniqueFd first = world.join("client", GENERATE(Style::connects, Style::names));
  UniqueFd second = client_at(world.directory.path("second"));
  REQUIRE(world.say(second, "intruder"));
  REQUIRE(world.say(first, "frame"));
  REQUIRE(run_until(world.loop, [&] { return !world.guest.frames.empty(); }));
  CHECK(world.guest.frames == std::vector<std::string>{"frame"});
  CHECK(world.guest.links == std::vector<bool>{true});
}

TEST_CASE("a client without an address is ignored") {
  DatagramWorld world;
  UniqueFd nameless = client_at("");
  REQUIRE(world.say(nameless, "frame"));
  world.loop.poll_watches();
  CHECK(world.guest.frames.empty());
  CHECK(world.guest.links.empty());
}

TEST_CASE("a passed pair of message sockets carries one frame each, both ways") {
  auto type = GENERATE(SOCK_DGRAM, SOCK_SEQPACKET);
  VirtualLoop loop;
  Recorder guest;
  auto [ours, theirs] = socket_pair(type);
  DgramPort port(loop, std::move(ours), DgramPort::Peer::connected);
  port.set_handler(&guest);
  CHECK(guest.links == std::vector<bool>{true});
  std::vector<std::string> sent = {"one", "", std::string(9000, 'x')};
  for (const std::string& frame : sent) {
    REQUIRE(::send(theirs.get(), frame.data(), frame.size(), 0) >= 0);
  }
  REQUIRE(run_until(loop, [&] { return guest.frames.size() == sent.size(); }));
  CHECK(guest.frames == sent);
  port.send(plain_frame("answer"), FrameClass::control);
  port.flush();
  CHECK(DatagramWorld::hear(theirs) == std::vector<std::string>{"answer"});
}

TEST_CASE("the end of a passed message socket's peer is noticed") {
  auto type = GENERATE(SOCK_DGRAM, SOCK_SEQPACKET);
  VirtualLoop loop;
  Recorder guest;
  int closes = 0;
  auto [ours, theirs] = socket_pair(type);
  DgramPort port(loop, std::move(ours), DgramPort::Peer::connected);
  port.set_on_closed([&] { ++closes; });
  port.set_handler(&guest);
  REQUIRE(::send(theirs.get(), "last", 4, 0) == 4);
  theirs.reset();
  if (type == SOCK_DGRAM) {
    // Nothing tells before something is sent.
    loop.poll_watches();
    port.send(plain_frame("frame"), FrameClass::control);
    port.flush();
  }
  REQUIRE(run_until(loop, [&] { return closes == 1; }));
  CHECK(guest.frames == std::vector<std::string>{"last"});
  CHECK(guest.links == std::vector<bool>{true, false});
}

}  // namespace sluice::test
