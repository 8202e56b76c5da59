#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "flow/judged_flow.h"
#include "support/letters.h"
#include "support/tcp_frames.h"
#include "wire/ethernet.h"

using namespace sluice;
using namespace sluice::test;

namespace {

/// Sends `payload`, of which only the first `there` bytes are copied.
void send_lent(OpenFlow& flow, const std::string& payload, std::size_t there,
               std::uint32_t ahead = 0) {
  flow.input_lent(
      OpenFlow::kGuest, OpenFlow::kRemote,
      {.sequence = flow.sequence + ahead, .acknowledgment = flow.first, .payload = payload}, there);
  if (ahead == 0) flow.sequence += static_cast<std::uint32_t>(payload.size());
}

void end_batch(OpenFlow& flow) {
  flow.end_lent_batch();
  flow.settle();
}

}  // namespace

TEST_CASE("lent payload reaches the host as it was") {
  OpenFlow flow;
  std::string stream;
  // One alone, two that are joined, one of which nothing is there, and one that is whole.
  for (std::size_t there : {100u, 80u, 0u, 12000u}) {
    send_lent(flow, letters(12000), there);
    stream += letters(12000);
  }
  end_batch(flow);
  CHECK((flow.host->sent() == stream));
  CHECK(flow.live_buffers == 0);
}

TEST_CASE("lent payload that has to wait for the host is kept as it was") {
  OpenFlow flow;
  flow.host->set_send_room(7000);
  send_lent(flow, letters(20000), 100);
  send_lent(flow, letters(20000), 100);
  end_batch(flow);
  CHECK((flow.host->sent() == letters(7000)));
  flow.host->set_send_room(1 << 20);
  flow.settle();
  CHECK((flow.host->sent() == letters(20000) + letters(20000)));
  CHECK(flow.live_buffers == 0);
}

TEST_CASE("lent payload that waits for a lost segment is kept as it was") {
  OpenFlow flow;
  send_lent(flow, letters(20000), 100, 4);
  end_batch(flow);
  CHECK(flow.host->sent().empty());
  flow.send("lost");
  CHECK((flow.host->sent() == "lost" + letters(20000)));
  CHECK(flow.live_buffers == 0);
}

TEST_CASE("lent payload beyond the window is cut off, and the guest sends it again") {
  OpenFlow flow;
  flow.host->set_send_room(0);
  const std::string segment = letters(30000);
  for (int i = 0; i < 3; ++i) send_lent(flow, segment, 100);
  end_batch(flow);
  flow.host->set_send_room(1 << 20);
  flow.settle();
  std::string sent = flow.host->sent();
  REQUIRE(sent.size() == (64 << 10));
  CHECK((sent == (segment + segment + segment).substr(0, sent.size())));
}

TEST_CASE("a flow that ends with lent payload leaves nothing behind") {
  OpenFlow flow;
  flow.host->set_send_room(0);
  send_lent(flow, letters(20000), 100);
  flow.input(OpenFlow::kGuest, OpenFlow::kRemote,
             {.sequence = flow.sequence, .acknowledgment = flow.first, .flags = kRst | kAck});
  end_batch(flow);
  CHECK(flow.relay->counters().flows == 0);
  CHECK(flow.live_buffers == 0);
}

TEST_CASE("a first flight that was lent is judged by the copy that is sent") {
  Judged flow;
  // The guest writes while its hello is looked at, so what is sent must not come from there.
  std::string hello = tls_hello("good.test");
  hello += tls_hello("good.test");
  send_lent(flow, hello, 10);
  flow.change_lent();
  end_batch(flow);
  CHECK((flow.host->sent() == hello));
}

namespace {

/// Frames of a flow one behind the other in a slab, as a port reads them.
class Frames {
 public:
  explicit Frames(OpenFlow& flow) : flow_(flow) {}

  /// The next frame of the flow, with `payload`.
  Bytes next(const std::string& payload) {
    GuestSegment segment{
        .sequence = flow_.sequence, .acknowledgment = flow_.first, .payload = payload};
    BuiltPacket built =
        build_packet(OpenFlow::kGuest, OpenFlow::kRemote, segment, &flow_.live_buffers);
    tcp_at_ = built.tcp_at;
    header_size_ = built.header_size;
    std::vector<std::uint8_t> frame(wire::kEthernetHeaderSize);
    frame.insert(frame.end(), built.packet.begin(), built.packet.end());
    flow_.sequence += static_cast<std::uint32_t>(payload.size());
    return slab_.add(frame);
  }
  void input(Bytes frame) {
    flow_.relay->input({.key = {OpenFlow::kGuest, OpenFlow::kRemote},
                        .packet = frame.subspan(wire::kEthernetHeaderSize),
                        .frame = frame,
                        .tcp_at = tcp_at_,
                        .header_size = header_size_,
                        .buffer = slab_.buffer()});
  }
  bool join(Bytes frame, const LentBytes& lent) {
    return flow_.relay->join(frame, slab_.buffer(), true, lent);
  }

 private:
  OpenFlow& flow_;
  FrameSlab slab_;
  std::size_t tcp_at_ = 0, header_size_ = 0;
};

}  // namespace

TEST_CASE("a frame whose end is lent joins a flow, but none that is being judged") {
  bool is_judged = GENERATE(false, true);
  CAPTURE(is_judged);
  OpenFlow flow = is_judged ? OpenFlow(judged()) : OpenFlow();
  Frames frames(flow);
  std::string hello = tls_hello("good.test");
  frames.input(frames.next(hello.substr(0, 1)));
  Bytes frame = frames.next(hello.substr(1));
  std::string memory = hello.substr(11);
  std::ranges::fill(frame.last(memory.size()), std::uint8_t{'?'});
  iovec piece{memory.data(), memory.size()};
  LentBytes lent{.pieces = {&piece, 1}, .size = memory.size()};
  CHECK(frames.join(frame, lent) == !is_judged);
  flow.relay->run();
  if (!is_judged) CHECK(flow.host->sent() == hello);
}

TEST_CASE("an ICMP error quotes what was lent, and nothing else") {
  RelayWorld world;
  world.gate.tcp = [](const Endpoint&) {
    flow::TcpRoute route;
    route.kind = flow::TcpRoute::Kind::unreachable;
    return route;
  };
  std::string payload(9000, 'p');
  world.input_lent(OpenFlow::kGuest, OpenFlow::kRemote, {.flags = kSyn, .payload = payload}, 100);
  world.end_lent_batch();
  world.settle();
  REQUIRE(world.output.packets.size() == 1);
  CHECK(std::ranges::count(world.output.packets[0], 'p') > 100);
  CHECK(std::ranges::count(world.output.packets[0], '?') == 0);
}

TEST_CASE("a frame that was completed holds its bytes, and counts as read memory") {
  std::string there = "headers, and room", elsewhere = "payload";
  std::array<iovec, 2> pieces{iovec{elsewhere.data(), 3}, iovec{elsewhere.data() + 3, 4}};
  LentBytes lent{.pieces = pieces, .size = elsewhere.size()};
  Bytes frame(reinterpret_cast<std::uint8_t*>(there.data()), there.size());
  ReadMemory::add(ReadMemory::kPlenty - there.size() + 1);
  {
    BufferRef buffer;
    lent.complete(frame, buffer);
    std::ranges::fill(there, '?');
    std::ranges::fill(elsewhere, '!');
    CHECK(std::string(frame.begin(), frame.end()) == "headers, apayload");
    CHECK_FALSE(lent);
    CHECK(ReadMemory::is_scarce());
  }
  CHECK_FALSE(ReadMemory::is_scarce());
  ReadMemory::remove(ReadMemory::kPlenty - there.size() + 1);
}
