#include <catch2/catch.hpp>
#include <string>
#include <utility>

#include "flow/open_flow.h"

using namespace sluice;
using namespace sluice::test;
using namespace std::chrono_literals;

TEST_CASE("bytes go both ways unchanged") {
  OpenFlow flow;
  flow.send("question");
  CHECK(flow.host->sent() == "question");
  std::string answer(20000, 'a');
  flow.host->feed(answer);
  flow.settle();
  CHECK(flow.received() == answer);
  CHECK(flow.live_buffers == 0);
}

TEST_CASE("segments out of order reach the host in order") {
  OpenFlow flow;
  flow.sequence += 5;
  flow.send("world");
  CHECK(flow.host->sent().empty());
  flow.sequence = 1000;
  flow.send("hello");
  CHECK(flow.host->sent() == "helloworld");
  CHECK(flow.live_buffers == 0);
}

TEST_CASE("more than 64 KiB that waited for one lost segment reach a host that was not ready") {
  OpenFlow flow;
  const std::string segment(1400, 's');
  // The window grows to hold them.
  constexpr std::size_t kBefore = 300, kWaiting = 60;
  for (std::size_t i = 0; i < kBefore; ++i) flow.send(segment);
  flow.host->set_send_room(0);
  auto send_with_timestamps = [&](std::uint32_t sequence) {
    flow.input(OpenFlow::kGuest, OpenFlow::kRemote,
               {.sequence = sequence,
                .acknowledgment = flow.first,
                .options = {1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0},
                .payload = segment});
    flow.settle();
  };
  for (std::uint32_t i = 1; i <= kWaiting; ++i) send_with_timestamps(flow.sequence + i * 1400);
  send_with_timestamps(flow.sequence);
  flow.host->set_send_room(1 << 20);
  flow.settle();
  CHECK(flow.host->sent() == std::string((kBefore + 1 + kWaiting) * 1400, 's'));
  CHECK(flow.live_buffers == 0);
}

TEST_CASE("of single bytes that wait for the host no more segments are kept than may be") {
  OpenFlow flow;
  flow.host->set_send_room(0);
  std::string stream;
  for (int i = 0; i < 3000; ++i) {
    stream += static_cast<char>('a' + i % 26);
    flow.send(std::string_view(stream).substr(stream.size() - 1));
    // Beside those that are merged.
    REQUIRE(flow.live_buffers <= 1025);
  }
  flow.host->set_send_room(1 << 20);
  flow.settle();
  CHECK(flow.host->sent() == stream);
  CHECK(flow.live_buffers == 0);
}

TEST_CASE("a thousand small messages that waited for the guest's window all arrive") {
  OpenFlow flow;
  flow.window = 0;
  flow.send({});
  std::string all;
  for (int i = 0; i < 1000; ++i) {
    std::string message = std::to_string(i) + ",";
    all += message;
    flow.host->feed(message);
    flow.settle();
  }
  flow.window = 65535;
  for (int round = 0; round < 8; ++round) {
    flow.taken = static_cast<std::uint32_t>(flow.received().size());
    flow.send({});
  }
  CHECK(flow.received() == all);
}

TEST_CASE("a guest that takes nothing costs a small queue, and gets all once it takes") {
  OpenFlow flow;
  flow.window = 0;
  flow.send({});
  std::string answer(3 << 20, 'a');
  flow.host->feed(answer);
  flow.settle();
  // The guest's window, and what is queued for it.
  CHECK(flow.engine->counters().memory_bytes <= (64 << 10) + (256 << 10));
  CHECK(flow.host->unread() >= answer.size() - (256 << 10));
  flow.window = 65535;
  for (int i = 0; i < 1000 && flow.taken < answer.size(); ++i) {
    flow.port.release_frames();
    flow.send({});
    flow.taken = static_cast<std::uint32_t>(flow.received().size());
  }
  CHECK((flow.received() == answer));
}

TEST_CASE("of a stream that goes on no segment is cut short") {
  OpenFlow flow;
  const std::string stream(3'000'000, 's');
  flow.host->feed(stream);
  flow.settle();
  while (flow.taken < stream.size()) {
    auto before = std::exchange(flow.taken, static_cast<std::uint32_t>(flow.received().size()));
    REQUIRE(flow.taken > before);
    flow.send({});
  }
  // lwIP makes none longer than half of the guest's window.
  constexpr std::size_t kSegment = 65535 / 2;
  std::size_t short_ones = 0;
  for (const SeenSegment& segment : flow.port.take()) {
    if (!segment.payload.empty() && segment.payload.size() != kSegment) ++short_ones;
  }
  CHECK(short_ones == 1);
}

TEST_CASE("what a guest sends beyond its window waits until it has been given more") {
  OpenFlow flow;
  const std::string stream = [] {
    std::string bytes;
    for (int i = 0; i < 100000; ++i) bytes += static_cast<char>(i * 31 >> 3);
    return bytes;
  }();
  flow.host->set_send_room(0);
  // Out of order, and then what was missing.
  flow.sequence = 1000 + 40000;
  flow.send(stream.substr(40000, 50000));
  flow.sequence = 1000;
  flow.send(stream.substr(0, 40000));
  CHECK(flow.port.seen.back().acknowledgment == 1000 + 65536);
  flow.host->set_send_room(kUnlimited);
  flow.settle();
  flow.sequence = 1000 + 65536;
  flow.send(stream.substr(65536));
  CHECK(flow.host->sent() == stream);
}

TEST_CASE("what a guest sends beyond its FIN is not part of the stream") {
  OpenFlow flow;
  flow.sequence = 1005;
  flow.send({}, kFin | kAck);
  SECTION("after it") {
    flow.send("beyond");
  }
  SECTION("across it") {
    flow.sequence = 1003;
    flow.send("looooong");
  }
  flow.sequence = 1000;
  flow.send("hello world");
  CHECK(flow.host->sent().substr(0, 3) == "hel");
  CHECK(flow.host->sent().size() == 5);
  CHECK(flow.host->saw_end());
}
