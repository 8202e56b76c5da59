#include <algorithm>
#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "flow/judged_flow.h"

using namespace sluice;
using namespace sluice::test;

namespace {

/// Sends segments of which all but the first bytes stay in memory that the guest goes on to use.
struct Lender {
  explicit Lender(OpenFlow& to) : flow(to) {}

  /// Of `payload` the first `there` bytes are copied; the rest lies in several pieces.
  void send(const std::string& payload, std::size_t there, std::uint32_t ahead = 0) {
    std::string room = payload;
    std::fill(room.begin() + static_cast<std::ptrdiff_t>(there), room.end(), '?');
    BuiltPacket built = build_packet(
        OpenFlow::kGuest, OpenFlow::kRemote,
        {.sequence = flow.sequence + ahead, .acknowledgment = flow.first, .payload = room},
        &flow.live_buffers);
    std::vector<std::string>& memory = memories.emplace_back();
    for (std::size_t at = there; at < payload.size(); at += 5000) {
      memory.push_back(payload.substr(at, 5000));
      memory.emplace_back();  // a descriptor of no length
    }
    std::vector<iovec> pieces;
    for (std::string& piece : memory) pieces.push_back({piece.data(), piece.size()});
    flow.relay->input({.key = {OpenFlow::kGuest, OpenFlow::kRemote},
                       .packet = built.packet,
                       .tcp_at = built.tcp_at,
                       .header_size = built.header_size,
                       .buffer = built.buffer,
                       .lent = {.pieces = pieces, .size = payload.size() - there}});
    if (ahead == 0) flow.sequence += static_cast<std::uint32_t>(payload.size());
  }
  /// The batch is over: the guest writes to its memory again.
  void end_batch() {
    flow.relay->run();
    flow.engine->keep_lent();
    for (auto& memory : memories) {
      for (std::string& piece : memory) std::ranges::fill(piece, '!');
    }
    flow.settle();
  }

  OpenFlow& flow;
  std::vector<std::vector<std::string>> memories;
};

std::string letters(std::size_t size) {
  std::string out(size, ' ');
  for (std::size_t i = 0; i < size; ++i) out[i] = static_cast<char>('a' + i % 23);
  return out;
}

}  // namespace

TEST_CASE("lent payload reaches the host as it was") {
  OpenFlow flow;
  Lender lender(flow);
  std::string stream;
  // One alone, two that are joined, one of which nothing is there, and one that is whole.
  for (std::size_t there : {100u, 80u, 0u, 12000u}) {
    lender.send(letters(12000), there);
    stream += letters(12000);
  }
  lender.end_batch();
  CHECK((flow.host->sent() == stream));
  CHECK(flow.live_buffers == 0);
}

TEST_CASE("lent payload that has to wait for the host is kept as it was") {
  OpenFlow flow;
  flow.host->set_send_room(7000);
  Lender lender(flow);
  lender.send(letters(20000), 100);
  lender.send(letters(20000), 100);
  lender.end_batch();
  CHECK((flow.host->sent() == letters(7000)));
  flow.host->set_send_room(1 << 20);
  flow.settle();
  CHECK((flow.host->sent() == letters(20000) + letters(20000)));
  CHECK(flow.live_buffers == 0);
}

TEST_CASE("lent payload that waits for a lost segment is kept as it was") {
  OpenFlow flow;
  Lender lender(flow);
  lender.send(letters(20000), 100, 4);
  lender.end_batch();
  CHECK(flow.host->sent().empty());
  flow.send("lost");
  CHECK((flow.host->sent() == "lost" + letters(20000)));
  CHECK(flow.live_buffers == 0);
}

TEST_CASE("lent payload beyond the window is cut off, and the guest sends it again") {
  OpenFlow flow;
  flow.host->set_send_room(0);
  Lender lender(flow);
  const std::string segment = letters(30000);
  for (int i = 0; i < 3; ++i) lender.send(segment, 100);
  lender.end_batch();
  flow.host->set_send_room(1 << 20);
  flow.settle();
  std::string sent = flow.host->sent();
  REQUIRE(sent.size() == (64 << 10));
  CHECK((sent == (segment + segment + segment).substr(0, sent.size())));
}

TEST_CASE("a flow that ends with lent payload leaves nothing behind") {
  OpenFlow flow;
  flow.host->set_send_room(0);
  Lender lender(flow);
  lender.send(letters(20000), 100);
  flow.input(OpenFlow::kGuest, OpenFlow::kRemote,
             {.sequence = flow.sequence, .acknowledgment = flow.first, .flags = kRst | kAck});
  lender.end_batch();
  CHECK(flow.relay->counters().flows == 0);
  CHECK(flow.live_buffers == 0);
}

TEST_CASE("a first flight that was lent is judged by the copy that is sent") {
  Judged flow;
  Lender lender(flow);
  // The guest writes while its hello is looked at, so what is sent must not come from there.
  std::string hello = tls_hello("good.test");
  hello += tls_hello("good.test");
  lender.send(hello, 10);
  for (std::string& piece : lender.memories[0]) std::ranges::fill(piece, '!');
  lender.end_batch();
  CHECK((flow.host->sent() == hello));
}
