#include "hostd/attach/stream_port.h"

#include <sys/socket.h>

#include <catch2/catch.hpp>
#include <deque>

#include "base/bytes.h"
#include "hostd/attach/stream_source.h"
#include "hostd/attach/unix_socket.h"
#include "hostd/port_kit.h"

namespace sluice::test {

using hostd::StreamPort;
using link::FrameClass;
using link::SendResult;

namespace {

std::string framed(const std::string& frame) {
  std::string out(4, '\0');
  store_be32(reinterpret_cast<std::uint8_t*>(out.data()), static_cast<std::uint32_t>(frame.size()));
  return out + frame;
}

std::string length_of(std::uint32_t size) {
  std::string out(4, '\0');
  store_be32(reinterpret_cast<std::uint8_t*>(out.data()), size);
  return out;
}

struct StreamWorld {
  StreamWorld() {
    auto [ours, theirs] = socket_pair(SOCK_STREAM);
    peer = std::move(theirs);
    port->set_on_closed([this] { ++closes; });
    port->set_handler(&guest);
    port->open(std::move(ours));
  }
  ~StreamWorld() { port.reset(); }

  /// Writes all of it while the port reads.
  void write(std::string_view bytes) {
    REQUIRE(run_until(loop, [&] {
      ssize_t n = ::send(peer.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n > 0) bytes.remove_prefix(static_cast<std::size_t>(n));
      return bytes.empty();
    }));
    loop.poll_watches();
  }
  /// What has come for the peer, as frames.
  std::vector<std::string> read() {
    std::string part(1 << 20, '\0');
    while (true) {
      ssize_t n = ::recv(peer.get(), part.data(), part.size(), 0);
      if (n <= 0) break;
      received.append(part, 0, static_cast<std::size_t>(n));
    }
    std::vector<std::string> frames;
    std::size_t at = 0;
    while (received.size() - at >= 4) {
      std::size_t size = load_be32(reinterpret_cast<const std::uint8_t*>(received.data() + at));
      if (received.size() - at - 4 < size) break;
      frames.push_back(received.substr(at + 4, size));
      at += 4 + size;
    }
    received.erase(0, at);
    return frames;
  }
  void fill() {
    while (true) {
      filled.emplace_back(60000);
      if (port->send(filled.back().view(), FrameClass::data) == SendResult::full) break;
    }
    filled.pop_back();
    port->flush();
  }

  std::deque<CountedFrame> filled;  ///< Outlives the port.
  VirtualLoop loop;
  std::unique_ptr<StreamPort> port = std::make_unique<StreamPort>(loop);
  UniqueFd peer;
  Recorder guest;
  int closes = 0;
  std::string received;
};

}  // namespace

TEST_CASE("frames of 0, 1 and 65550 bytes on a stream are handed on whole") {
  StreamWorld world;
  std::vector<std::string> sent = {"", "x", std::string(65550, 'y'), "z"};
  for (const std::string& frame : sent) world.write(framed(frame));
  REQUIRE(run_until(world.loop, [&] { return world.guest.frames.size() == sent.size(); }));
  CHECK(world.guest.frames == sent);
}

TEST_CASE("a stream whose frame claims more than 65550 bytes ends, and says so once") {
  auto size = GENERATE(65551u, 0x7fffffffu, 0xffffffffu);
  StreamWorld world;
  world.write(framed("good") + length_of(size) + "rest");
  REQUIRE(run_until(world.loop, [&] { return world.closes > 0; }));
  CHECK(world.guest.frames == std::vector<std::string>{"good"});
  CHECK(world.guest.links == std::vector<bool>{true, false});
  CHECK(world.port->counters().tx_malformed == 1);
  CHECK(world.closes == 1);
  CHECK_FALSE(world.port->is_open());
}

TEST_CASE("a frame that comes in two parts, cut at any byte, is put together") {
  StreamWorld world;
  std::string whole = framed("a frame of some bytes");
  for (std::size_t cut = 1; cut < whole.size(); ++cut) {
    world.guest.frames.clear();
    world.write(std::string_view(whole).substr(0, cut));
    CHECK(world.guest.frames.empty());
    world.write(std::string_view(whole).substr(cut));
    CHECK(world.guest.frames == std::vector<std::string>{"a frame of some bytes"});
  }
}

TEST_CASE("frames keep their bytes while somebody refers to them and more come in") {
  StreamWorld world;
  world.guest.hold = true;
  std::string all;
  std::vector<std::string> sent;
  for (int i = 0; i < 200; ++i) {
    sent.emplace_back(9000, static_cast<char>('a' + i % 26));
    all += framed(sent.back());
  }
  world.write(all);
  REQUIRE(run_until(world.loop, [&] { return world.guest.frames.size() == sent.size(); }));
  CHECK(world.guest.frames == sent);
}

TEST_CASE("a peer that goes in the middle of a frame is served anew when it comes back") {
  StreamWorld world;
  world.write(framed("whole") + length_of(100) + "part");
  world.peer.reset();
  REQUIRE(run_until(world.loop, [&] { return world.closes == 1; }));
  auto [ours, theirs] = socket_pair(SOCK_STREAM);
  world.peer = std::move(theirs);
  world.port->open(std::move(ours));
  world.write(framed("again"));
  CHECK(world.guest.frames == std::vector<std::string>{"whole", "again"});
  CHECK(world.guest.links == std::vector<bool>{true, false, true});
}

TEST_CASE("frames for a stream's guest arrive in order with their length") {
  StreamWorld world;
  CountedFrame large(60000);
  CHECK(world.port->send(plain_frame("first"), FrameClass::control) == SendResult::sent);
  CHECK(world.port->send(large.view(), FrameClass::data) == SendResult::sent);
  CHECK(world.port->send(plain_frame("last"), FrameClass::control) == SendResult::sent);
  world.port->flush();
  std::vector<std::string> frames;
  REQUIRE(run_until(world.loop, [&] {
    for (auto& frame : world.read()) frames.push_back(frame);
    return frames.size() == 3;
  }));
  CHECK(frames == std::vector<std::string>{"first", large.bytes(), "last"});
  CHECK(large.releases == 1);
}

TEST_CASE("a full stream refuses data, takes control, and loses nothing of what it took") {
  StreamWorld world;
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
    for (auto& frame : world.read()) got.push_back(frame);
    return got.size() >= frames.size() + 2;
  }));
  CHECK(world.guest.spaces == 1);
  CHECK(later == 1);
  REQUIRE(got.size() == frames.size() + 2);
  for (std::size_t i = 0; i < frames.size(); ++i) {
    REQUIRE(got[i] == frames[i].bytes());
    REQUIRE(frames[i].releases == 1);
  }
  CHECK(got[frames.size()] == "control");
  CHECK(got.back() == "later");
}

TEST_CASE("a stream's queue is bounded for control frames too") {
  StreamWorld world;
  world.fill();
  std::string frame(100, 'c');
  std::size_t taken = 0;
  while (world.port->send(plain_frame(frame), FrameClass::control) == SendResult::sent) {
    REQUIRE(++taken < 100'000);
  }
  CHECK(taken * frame.size() > 100'000);
}

TEST_CASE("a peer that stops reading a stream wakes nobody") {
  StreamWorld world;
  world.fill();
  world.loop.poll_watches();
  for (int i = 0; i < 5; ++i) CHECK(world.loop.poll_watches() == 0);
  CHECK(world.loop.active_timers() == 0);
}

TEST_CASE("what waits for a stream is released once when the peer goes") {
  StreamWorld world;
  world.fill();
  auto& frames = world.filled;
  world.peer.reset();
  REQUIRE(run_until(world.loop, [&] { return world.closes == 1; }));
  for (const CountedFrame& frame : frames) REQUIRE(frame.releases == 1);
}

TEST_CASE("what waits for a stream is released once when the port is destroyed") {
  StreamWorld world;
  world.fill();
  auto& frames = world.filled;
  world.port.reset();
  for (const CountedFrame& frame : frames) REQUIRE(frame.releases == 1);
}

TEST_CASE("a stream port destroyed right after its peer went tells nobody") {
  StreamWorld world;
  world.peer.reset();
  world.port->send(plain_frame("frame"), FrameClass::control);
  world.port->flush();
  REQUIRE_FALSE(world.port->is_open());
  world.port.reset();
  world.loop.run_ready();
  CHECK(world.closes == 0);
}

TEST_CASE("while no VMM is there, data is asked for again and the rest is lost as on a cable") {
  VirtualLoop loop;
  Recorder guest;
  StreamPort port(loop);
  port.set_handler(&guest);
  CountedFrame data(100), control(100);
  CHECK(port.send(data.view(), FrameClass::data) == SendResult::full);
  CHECK(port.send(control.view(), FrameClass::control) == SendResult::sent);
  CHECK(data.releases == 0);
  CHECK(control.releases == 1);
  auto [ours, theirs] = socket_pair(SOCK_STREAM);
  port.open(std::move(ours));
  CHECK(guest.links == std::vector<bool>{true});
  CHECK(guest.spaces == 1);
}

TEST_CASE("frames that came before a handler was set are delivered to it") {
  VirtualLoop loop;
  Recorder guest;
  StreamPort port(loop);
  auto [ours, theirs] = socket_pair(SOCK_STREAM);
  port.open(std::move(ours));
  std::string bytes = framed("early");
  REQUIRE(::send(theirs.get(), bytes.data(), bytes.size(), 0) > 0);
  loop.poll_watches();
  port.set_handler(&guest);
  loop.poll_watches();
  CHECK(guest.frames == std::vector<std::string>{"early"});
}

TEST_CASE("a VMM that comes back before its old connection was read to the end is served next") {
  TempDirectory directory;
  auto listener = hostd::listen_unix_stream(directory.path("nic"));
  REQUIRE(listener);
  int fd = listener->get();
  VirtualLoop loop;
  Recorder guest;
  auto port = hostd::make_listening_port(loop, std::move(*listener), {});
  port->set_handler(&guest);
  auto connect_and_say = [&](const std::string& frame) {
    auto socket = hostd::connect_unix_stream(directory.path("nic"));
    REQUIRE(socket);
    std::string bytes = framed(frame);
    REQUIRE(::send(socket->get(), bytes.data(), bytes.size(), 0) > 0);
    return std::move(*socket);
  };
  UniqueFd first = connect_and_say("one");
  REQUIRE(run_until(loop, [&] { return guest.frames.size() == 1; }));
  std::string more = framed("two");
  REQUIRE(::send(first.get(), more.data(), more.size(), 0) > 0);
  first.reset();
  UniqueFd second = connect_and_say("three");
  loop.make_ready(fd, {.readable = true});  // The listener's turn comes first.
  REQUIRE(run_until(loop, [&] { return guest.frames.size() == 3; }));
  CHECK(guest.frames == std::vector<std::string>{"one", "two", "three"});
  CHECK(guest.links == std::vector<bool>{true, false, true});
  UniqueFd intruder = connect_and_say("four");
  loop.poll_watches();
  loop.poll_watches();
  CHECK(guest.frames.size() == 3);
}

}  // namespace sluice::test
