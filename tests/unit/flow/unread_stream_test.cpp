#include "flow/unread_stream.h"

#include <catch2/catch.hpp>
#include <cstdint>
#include <string>

#include "flow/judged_flow.h"

using namespace sluice;
using namespace sluice::test;
using namespace std::chrono_literals;

namespace {

constexpr std::size_t kMuch = 1 << 20;

/// Bytes of which no two stretches are alike.
std::string noise(std::size_t size) {
  std::string out(size, '\0');
  for (std::size_t i = 0; i < size; ++i) {
    out[i] = static_cast<char>(static_cast<std::uint32_t>(i) * 0x9e3779b1u >> 24);
  }
  return out;
}

/// A flow whose guest copies what is unread itself.
struct BulkFlow : OpenFlow {
  BulkFlow() { port.takes = true; }

  /// The host sends `size` bytes at once: more than is read in one turn.
  void feed(std::size_t size = kMuch) {
    sent += noise(size);
    host->feed(noise(size));
    settle();
  }
  void acknowledge() {
    taken = static_cast<std::uint32_t>(received().size());
    send({});
  }
  /// The guest takes what was read, and some of what was not.
  void take_first() {
    for (int i = 0; i < 5; ++i) acknowledge();
  }
  /// The guest takes all that comes.
  void take_all() {
    for (std::size_t before = 1; before != taken;) {
      before = taken;
      acknowledge();
    }
  }

  std::string sent;
};

}  // namespace

TEST_CASE("of much from the host only the first read is in memory, the rest stays in its socket") {
  BulkFlow flow;
  flow.feed();
  // Nothing that the guest has not acknowledged is gone, but for that first read.
  CHECK(flow.host->unread() == kMuch - flow.engine->counters().memory_bytes + (64 << 10));
  CHECK(flow.host->unread() >= kMuch - (256 << 10));
  flow.take_all();
  CHECK((flow.received() == flow.sent));
  CHECK(flow.host->unread() == 0);
  CHECK(flow.relay->counters().bytes_to_guest == kMuch);
}

TEST_CASE("what stays in the host's socket is let go as the guest acknowledges it") {
  BulkFlow flow;
  flow.feed();
  std::size_t unread = flow.host->unread();
  while (unread > 0) {
    std::size_t before = flow.taken;
    flow.acknowledge();
    REQUIRE(flow.taken > before);
    std::size_t read = flow.host->unread() == unread ? 0 : kMuch - flow.host->unread();
    if (read > 0) CHECK(read == flow.taken);
    unread = flow.host->unread();
  }
  CHECK((flow.received() == flow.sent));
}

TEST_CASE("a segment that the guest lost is copied out of the host's socket again") {
  BulkFlow flow;
  flow.feed();
  for (int i = 0; i < 6; ++i) flow.acknowledge();
  // What is under way now.
  auto lost = flow.taken;
  flow.port.take();
  flow.first += lost;
  flow.taken = 0;
  flow.port.release_frames();
  flow.pass(10s);
  flow.take_all();
  CHECK((flow.received() == flow.sent.substr(lost)));
  CHECK(flow.host->unread() == 0);
}

TEST_CASE("a guest with a window smaller than a segment gets what is unread") {
  BulkFlow flow;
  flow.feed(400'000);
  flow.take_all();
  flow.window = 700;
  flow.acknowledge();
  flow.feed(600'000);
  for (int i = 0; i < 3000 && flow.received().size() < flow.sent.size(); ++i) {
    flow.acknowledge();
    if (i > 1400) flow.window = 65535;
  }
  CHECK((flow.received() == flow.sent));
}

TEST_CASE("the byte that asks after a closed window is the one that is next") {
  BulkFlow flow;
  flow.feed();
  flow.take_first();
  flow.window = 0;
  flow.acknowledge();
  std::size_t before = flow.received().size();
  flow.pass(10s);
  std::size_t probed = flow.received().size();
  CHECK(probed > before);
  CHECK((flow.received() == flow.sent.substr(0, probed)));
  flow.window = 65535;
  flow.take_all();
  CHECK((flow.received() == flow.sent));
}

TEST_CASE("what comes in drops while the window is closed is no more trouble once it opens") {
  BulkFlow flow;
  flow.feed(400'000);
  flow.window = 0;
  flow.take_first();
  // Less than a segment is left, to which each drop is added.
  for (int i = 0; i < 600; ++i) {
    flow.sent += static_cast<char>(i);
    flow.host->feed(std::string(1, static_cast<char>(i)));
    flow.pass(250ms);
  }
  CHECK(flow.engine->counters().memory_bytes < 512 << 10);
  flow.window = 65535;
  flow.take_all();
  CHECK((flow.received() == flow.sent));
  CHECK(flow.engine->counters().memory_bytes == 64 << 10);
}

TEST_CASE("what has to be read for a small window counts as memory, and the socket lets go of it") {
  BulkFlow flow;
  flow.feed();
  flow.take_first();
  std::size_t memory = flow.engine->counters().memory_bytes, unread = flow.host->unread();
  flow.window = 700;
  flow.acknowledge();
  std::size_t more = flow.engine->counters().memory_bytes - memory;
  CHECK(more > 0);
  CHECK(more < 65536);
  CHECK(flow.host->unread() < unread);
  flow.window = 65535;
  flow.take_all();
  CHECK((flow.received() == flow.sent));
  CHECK(flow.engine->counters().memory_bytes == 64 << 10);
}

TEST_CASE("the host's end comes after what is unread, and its socket is empty when it closes") {
  BulkFlow flow;
  flow.feed();
  flow.host->feed_end();
  flow.settle();
  flow.send({}, kAck | kFin);
  CHECK_FALSE(flow.host->closed());
  while (!flow.host->closed() && flow.received().size() < flow.sent.size()) flow.acknowledge();
  CHECK((flow.received() == flow.sent));
  CHECK(flow.port.count(kFin) > 0);
  flow.taken = static_cast<std::uint32_t>(flow.sent.size()) + 1;
  flow.send({});
  CHECK(flow.host->closed());
  CHECK_FALSE(flow.host->was_reset());
  CHECK(flow.host->unread() == 0);
}

TEST_CASE("the host's reset comes when the guest has what the socket still had") {
  BulkFlow flow;
  flow.feed();
  flow.host->fail_after_unread(ECONNRESET);
  flow.settle();
  while (flow.received().size() < flow.sent.size()) {
    REQUIRE(flow.port.count(kRst) == 0);
    flow.acknowledge();
  }
  CHECK((flow.received() == flow.sent));
  flow.acknowledge();
  CHECK(flow.port.count(kRst) == 1);
  CHECK(flow.relay->counters().flows == 0);
}

TEST_CASE("where the socket loses what was shown to the guest, the flow is reset") {
  BulkFlow flow;
  flow.feed();
  flow.take_first();
  flow.host->reset();
  flow.acknowledge();
  flow.pass(60s);
  CHECK(flow.port.count(kRst) == 1);
  CHECK(flow.relay->counters().flows == 0);
}

TEST_CASE("small answers are read as ever once the guest has taken the many") {
  BulkFlow flow;
  flow.feed();
  flow.take_all();
  for (int i = 0; i < 3; ++i) {
    flow.host->feed("answer");
    flow.sent += "answer";
    flow.settle();
    // Read, though the guest has not acknowledged it.
    CHECK(flow.host->unread() == 0);
    flow.acknowledge();
  }
  flow.feed();
  flow.take_all();
  CHECK((flow.received() == flow.sent));
}

TEST_CASE("a read that stops on its way is gone on with") {
  BulkFlow flow;
  flow.feed();
  // As before a byte that was urgent.
  flow.host->set_receive_limit(1009);
  flow.take_all();
  CHECK((flow.received() == flow.sent));
}

TEST_CASE("a guest whose driver changes gets as read what was written as unread") {
  BulkFlow flow;
  flow.feed();
  flow.take_first();
  flow.port.takes = false;
  flow.take_all();
  CHECK((flow.received() == flow.sent));
  CHECK(flow.port.lost == 0);
}

TEST_CASE("nothing is left unread where the socket can't, or first bytes are still judged") {
  bool can_peek = GENERATE(true, false);
  if (can_peek) {
    Judged flow;
    flow.port.takes = true;
    flow.host->feed(noise(kMuch));
    flow.settle();
    // What was passed on was read.
    CHECK(flow.relay->counters().bytes_to_guest > 0);
    CHECK(flow.host->unread() == kMuch - flow.relay->counters().bytes_to_guest);
    return;
  }
  BulkFlow flow;
  flow.host->can_peek = false;
  flow.feed();
  while (flow.received().size() < flow.sent.size()) {
    // What was read is what the guest took, and a queue of 256 KiB.
    CHECK(kMuch - flow.host->unread() >= std::min<std::size_t>(kMuch, flow.taken + (192 << 10)));
    flow.acknowledge();
  }
  CHECK((flow.received() == flow.sent));
}

TEST_CASE("a frame whose bytes the guest acknowledged before it was written has nothing to say") {
  BulkFlow flow;
  flow.feed();
  flow.take_first();
  flow.port.copies_late = true;
  std::size_t known = flow.received().size();
  flow.acknowledge();
  REQUIRE(flow.port.frames() > 0);
  // It says so without having seen them: two of half its window.
  flow.taken += 65534;
  flow.send({});
  flow.port.release_frames();
  CHECK(flow.port.lost > 0);
  CHECK((flow.received() == flow.sent.substr(0, known)));
}

TEST_CASE("frames that outlast their flow have nothing to say") {
  BulkFlow flow;
  flow.feed();
  flow.take_first();
  flow.port.copies_late = true;
  flow.acknowledge();
  REQUIRE(flow.port.frames() > 0);
  SECTION("the guest resets it") {
    flow.send({}, kRst);
  }
  SECTION("the relay goes") {
    flow.relay.reset();
  }
  flow.port.release_frames();
  CHECK(flow.port.lost > 0);
  CHECK(flow.host->closed());
}
