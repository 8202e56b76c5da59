#include "stack/tcp_engine.h"

#include <catch2/catch.hpp>
#include <span>
#include <string>
#include <vector>

#include "flow/scripted_guest.h"
#include "support/letters.h"

using namespace sluice;
using namespace sluice::test;
using stack::CloseReason;
using stack::TcpEndpoint;
using stack::TcpEngine;

namespace {

const Endpoint kRemote{IpAddress::v4(198, 51, 100, 7), Port(443)};
const Endpoint kGuest{IpAddress::v4(192, 168, 127, 2), Port(40000)};

struct Owner final : stack::EndpointOwner {
  int changes = 0;
  void on_endpoint_changed() override { ++changes; }
};

/// One connection that the guest opened.
class Connection {
 public:
  explicit Connection(const stack::TcpEngineConfig& config = {})
      : engine(std::move(*TcpEngine::create(config, port))) {}
  ~Connection() {
    endpoint.reset();
    port.release_frames();
  }

  void accept(std::uint16_t window = 65535, std::vector<std::uint8_t> options = {2, 4, 5, 180}) {
    BuiltPacket syn = build({.sequence = 999, .flags = kSyn, .window = window, .options = options});
    endpoint = engine->accept(kGuest, kRemote, syn.header(), owner);
    REQUIRE(endpoint);
    REQUIRE(port.seen.size() == 1);
    first = port.seen[0].sequence + 1;
    syn_ack = port.take()[0];
  }
  void establish(std::uint16_t window = 65535) {
    accept(window);
    send({.sequence = 1000, .acknowledgment = first, .window = window});
    REQUIRE(endpoint->established());
    port.take();
  }
  BuiltPacket build(const GuestSegment& segment) {
    return build_packet(kGuest, kRemote, segment, &live_buffers);
  }
  void send(const GuestSegment& segment) {
    BuiltPacket built = build(segment);
    Bytes payload = built.payload();
    iovec piece{payload.data(), payload.size()};
    endpoint->input({.header = built.header(),
                     .payload = {&piece, payload.empty() ? 0u : 1u},
                     .buffers = {&built.buffer, 1},
                     .payload_size = payload.size()});
    endpoint->finish_batch();
  }
  void acknowledge(std::uint32_t bytes, std::uint16_t window = 65535) {
    send({.sequence = 1000, .acknowledgment = first + bytes, .window = window});
  }
  /// Writes `size` bytes that lie in a counted buffer.
  void write(std::size_t size) {
    BufferRef buffer = CountedBuffer::make(size, &live_buffers);
    Bytes bytes = CountedBuffer::own(buffer.get())->bytes;
    for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::uint8_t>('a' + i % 26);
    REQUIRE(endpoint->write(buffer, bytes) == size);
    endpoint->finish_batch();
  }
  void write_copy(std::size_t size) {
    std::vector<std::uint8_t> bytes(size, 'c');
    REQUIRE(endpoint->write(BufferRef(), bytes) == size);
    endpoint->finish_batch();
  }
  void tick(int count) {
    for (int i = 0; i < count; ++i) engine->tick(false);
  }

  ScriptedPort port;
  Owner owner;
  std::size_t live_buffers = 0;
  std::unique_ptr<TcpEngine> engine;
  std::unique_ptr<TcpEndpoint> endpoint;
  std::uint32_t first = 0;
  SeenSegment syn_ack;
};

}  // namespace

TEST_CASE("one process has one engine at a time") {
  ScriptedPort port;
  {
    auto first = TcpEngine::create({}, port);
    REQUIRE(first);
    auto second = TcpEngine::create({}, port);
    REQUIRE_FALSE(second);
    CHECK(second.status().code() == StatusCode::already_exists);
  }
  CHECK(TcpEngine::create({}, port));
}

TEST_CASE("accepting a SYN answers it from the address that the guest dialled") {
  Connection it;
  it.accept();
  CHECK(it.syn_ack.source == kRemote);
  CHECK(it.syn_ack.destination == kGuest);
  CHECK(it.syn_ack.flags.bits == (kSyn | kAck));
  CHECK(it.syn_ack.acknowledgment == 1000);
  CHECK_FALSE(it.endpoint->established());
  it.send({.sequence = 1000, .acknowledgment = it.first});
  CHECK(it.endpoint->established());
  CHECK(it.owner.changes > 0);
}

TEST_CASE("what the guest sends is read where it lies and let go when consumed") {
  Connection it;
  it.establish();
  it.send({.sequence = 1000, .acknowledgment = it.first, .payload = "hello"});
  CHECK(it.endpoint->received() == 5);
  CHECK(it.live_buffers == 1);
  iovec pieces[4];
  REQUIRE(it.endpoint->peek(pieces) == 1);
  CHECK(std::string(static_cast<char*>(pieces[0].iov_base), pieces[0].iov_len) == "hello");
  it.endpoint->consume(2);
  CHECK(it.live_buffers == 1);
  it.endpoint->consume(3);
  CHECK(it.live_buffers == 0);
  CHECK(it.port.seen.back().acknowledgment == 1005);
}

TEST_CASE("where memory that was read into is scarce, what waits is copied out of it") {
  Connection it;
  it.establish();
  std::string expected;
  auto send = [&](std::string_view text) {
    it.send({.sequence = static_cast<std::uint32_t>(1000 + expected.size()),
             .acknowledgment = it.first,
             .payload = text});
    expected += text;
  };
  ReadMemory::add(ReadMemory::kPlenty);
  send("enough");
  CHECK(it.live_buffers == 1);
  ReadMemory::add(1);
  send("scarce");
  CHECK(it.live_buffers == 1);
  // Out of order too.
  it.send({.sequence = 1015, .acknowledgment = it.first, .payload = "later"});
  CHECK(it.live_buffers == 1);
  send("now");
  expected += "later";
  CHECK(it.live_buffers == 1);
  ReadMemory::remove(ReadMemory::kPlenty + 1);
  iovec pieces[8];
  std::string got;
  for (const iovec& piece : std::span(pieces).first(it.endpoint->peek(pieces))) {
    got.append(static_cast<const char*>(piece.iov_base), piece.iov_len);
  }
  CHECK(got == expected);
}

TEST_CASE("host data is let go only when it is acknowledged and the port is done with it") {
  Connection it;
  it.establish();
  it.write(10000);
  CHECK(it.port.stream(it.first) == letters(10000));
  REQUIRE(it.port.frames() > 0);
  SECTION("acknowledged first") {
    it.acknowledge(10000);
    CHECK(it.endpoint->all_acknowledged());
    CHECK(it.live_buffers == 1);
    it.port.release_frames();
  }
  SECTION("released first") {
    it.port.release_frames();
    CHECK(it.live_buffers == 1);
    it.acknowledge(10000);
  }
  SECTION("the connection is gone first") {
    it.endpoint.reset();
    CHECK(it.live_buffers == 1);
    it.port.release_frames();
  }
  CHECK(it.live_buffers == 0);
}

TEST_CASE("the ACK of copied data lets go no host data that was written after it") {
  Connection it;
  it.establish();
  it.write_copy(1000);
  it.write(10000);
  it.write_copy(1000);
  it.port.release_frames();
  it.acknowledge(1000);
  CHECK(it.live_buffers == 1);
  it.acknowledge(11000);
  CHECK(it.live_buffers == 0);
  it.acknowledge(12000);
  it.write(10000);
  it.port.release_frames();
  CHECK(it.live_buffers == 1);
  it.acknowledge(22000);
  CHECK(it.live_buffers == 0);
}

TEST_CASE("a frame of copied data may outlast its connection") {
  Connection it;
  it.establish();
  it.write_copy(1000);
  REQUIRE(it.port.frames() == 1);
  SECTION("alone") {}
  SECTION("with host data behind it") {
    it.write(10000);
  }
  it.endpoint.reset();
  it.port.release_frames();
  CHECK(it.live_buffers == 0);
}

TEST_CASE("a full port loses nothing") {
  Connection it;
  it.establish();
  it.port.full = true;
  it.write(10000);
  CHECK(it.port.seen.empty());
  CHECK(it.endpoint->send_space() == 0);
  CHECK(it.engine->counters().blocked > 0);
  it.engine->retry_blocked();
  CHECK(it.port.seen.empty());
  it.port.full = false;
  it.engine->retry_blocked();
  CHECK(it.port.stream(it.first) == letters(10000));
  CHECK(it.endpoint->send_space() > 0);
}

TEST_CASE("less than a segment is to be written only where less than one is unacknowledged") {
  Connection it;
  it.establish();
  // Half of the guest's window: lwIP makes none that is longer.
  constexpr std::size_t kSegment = 65535 / 2;
  CHECK(it.endpoint->whole_segments(kSegment - 1) == kSegment - 1);
  CHECK(it.endpoint->whole_segments(2 * kSegment - 1) == kSegment);
  CHECK(it.endpoint->whole_segments(2 * kSegment) == 2 * kSegment);
  it.write(kSegment - 1);
  CHECK(it.endpoint->whole_segments(kSegment - 1) == kSegment - 1);
  it.write(1);
  CHECK(it.endpoint->whole_segments(kSegment - 1) == 0);
  CHECK(it.endpoint->whole_segments(2 * kSegment - 1) == kSegment);
  it.acknowledge(kSegment - 1);
  CHECK(it.endpoint->whole_segments(1) == 1);
  it.endpoint->abort();
  CHECK(it.endpoint->whole_segments(2 * kSegment) == 0);
}

TEST_CASE("the guest may close its side and go on reading") {
  Connection it;
  it.establish();
  it.send({.sequence = 1000, .acknowledgment = it.first, .flags = kFin | kAck});
  CHECK(it.endpoint->fin_received());
  CHECK(it.endpoint->closed() == CloseReason::none);
  it.write(1000);
  CHECK(it.port.stream(it.first) == letters(1000));
}

TEST_CASE("the host may close its side and go on reading") {
  Connection it;
  it.establish();
  it.endpoint->shutdown_send();
  it.endpoint->shutdown_send();
  it.endpoint->finish_batch();
  CHECK(it.port.count(kFin) == 1);
  CHECK(it.endpoint->send_space() == 0);
  it.send({.sequence = 1000, .acknowledgment = it.first + 1, .payload = "more"});
  CHECK(it.endpoint->received() == 4);
}

TEST_CASE("TIME_WAIT ends by itself, and at once where the addresses are wanted") {
  Connection it;
  it.establish();
  it.endpoint->shutdown_send();
  it.endpoint->finish_batch();
  it.send({.sequence = 1000, .acknowledgment = it.first + 1, .flags = kFin | kAck});
  REQUIRE(it.endpoint->in_time_wait());
  SECTION("by time") {
    it.tick(40);
  }
  SECTION("wanted") {
    it.endpoint->discard_time_wait();
  }
  CHECK(it.endpoint->closed() != CloseReason::none);
  CHECK(it.port.count(kRst) == 0);
  it.tick(1);
  CHECK_FALSE(it.engine->needs_tick());
}

TEST_CASE("ticks go on when a connection ended since the last one and data waits to be read") {
  Connection it;
  it.establish();
  it.send({.sequence = 1000, .acknowledgment = it.first, .flags = kFin | kAck, .payload = "rest"});
  it.endpoint->shutdown_send();
  it.endpoint->finish_batch();
  it.send({.sequence = 1005, .acknowledgment = it.first + 1});
  REQUIRE(it.endpoint->closed() == CloseReason::finished);
  it.tick(2);
  CHECK_FALSE(it.engine->needs_tick());
  CHECK(it.endpoint->received() == 4);
}

TEST_CASE("a RST ends the connection, whoever sends it") {
  Connection it;
  it.establish();
  SECTION("the guest") {
    it.send({.sequence = 1000, .flags = kRst});
    CHECK(it.endpoint->closed() == CloseReason::reset);
    CHECK(it.port.count(kRst) == 0);
  }
  SECTION("the host") {
    it.endpoint->abort();
    CHECK(it.endpoint->closed() == CloseReason::aborted);
    CHECK(it.port.count(kRst) == 1);
  }
}

TEST_CASE("a connection whose SYN-ACK was not acknowledged has an end as others have") {
  Connection it;
  it.accept();
  int changes = it.owner.changes;
  SECTION("the guest resets it") {
    it.send({.sequence = 1000, .flags = kRst});
    CHECK(it.endpoint->closed() == CloseReason::reset);
  }
  SECTION("the guest never answers") {
    it.tick(12000);
    CHECK(it.endpoint->closed() == CloseReason::timed_out);
  }
  SECTION("we do") {
    it.endpoint->abort();
    CHECK(it.endpoint->closed() == CloseReason::aborted);
  }
  CHECK(it.owner.changes > changes);
}

TEST_CASE("destroying an endpoint resets the connection") {
  Connection it;
  it.establish();
  it.endpoint.reset();
  CHECK(it.port.count(kRst) == 1);
  CHECK(it.engine->counters().endpoints == 0);
  CHECK(it.engine->counters().memory_bytes == 0);
}

TEST_CASE("options after the handshake mean nothing") {
  Connection it;
  it.establish();
  it.send({.sequence = 1000,
           .acknowledgment = it.first,
           .options = {2, 4, 0, 1, 1, 3, 3, 14},
           .payload = "data"});
  CHECK(it.endpoint->received() == 4);
  it.write(20000);
  CHECK(it.port.stream(it.first) == letters(20000));
  CHECK(it.port.seen.size() < 20);
}

TEST_CASE("a repeated SYN with another window scale changes nothing") {
  Connection it;
  it.accept();
  it.send({.sequence = 999, .flags = kSyn, .options = {2, 4, 0, 1, 1, 3, 3, 14}});
  it.send({.sequence = 1000, .acknowledgment = it.first});
  CHECK(it.endpoint->established());
  it.send({.sequence = 999, .flags = kSyn, .options = {2, 4, 0, 1, 1, 3, 3, 14}});
  it.write(5000);
  CHECK(it.port.stream(it.first) == letters(5000));
}

TEST_CASE("a guest that shuts its window gets the rest when it opens it") {
  Connection it;
  it.establish(1000);
  it.write(3000);
  std::size_t sent = it.port.stream(it.first).size();
  CHECK(sent > 0);
  CHECK(sent <= 1000);
  it.acknowledge(static_cast<std::uint32_t>(sent), 0);
  it.tick(1);
  CHECK(it.port.stream(it.first).size() <= sent + 1);
  it.acknowledge(static_cast<std::uint32_t>(sent), 65535);
  CHECK(it.port.stream(it.first) == letters(3000));
  it.acknowledge(3000);
  CHECK(it.endpoint->all_acknowledged());
}

TEST_CASE("a FIN stays behind data that a narrow window cuts") {
  Connection it;
  it.establish(8000);
  it.acknowledge(0, 600);
  it.write(3000);
  it.endpoint->shutdown_send();
  it.endpoint->finish_batch();
  for (std::uint32_t got = 0; got < 3000;) {
    got = static_cast<std::uint32_t>(it.port.stream(it.first).size());
    for (const SeenSegment& segment : it.port.seen) {
      bool at_the_end = segment.sequence + segment.payload.size() == it.first + 3000;
      CHECK((segment.flags.fin() ? at_the_end : true));
    }
    REQUIRE(got > 0);
    it.acknowledge(got, 600);
    it.tick(1);
  }
  CHECK(it.port.stream(it.first) == letters(3000));
}

TEST_CASE("a lost segment is sent again") {
  Connection it;
  it.establish();
  it.write(100);
  it.port.take();
  it.tick(20);
  CHECK(it.port.stream(it.first) == letters(100));
}

TEST_CASE("a guest that never answers loses the connection, a paused one does not") {
  Connection it;
  it.establish();
  it.write(100);
  SECTION("silent alone") {
    it.tick(12000);
    CHECK(it.endpoint->closed() == CloseReason::timed_out);
  }
  SECTION("paused") {
    for (int i = 0; i < 12000; ++i) it.engine->tick(true);
    CHECK(it.endpoint->closed() == CloseReason::none);
  }
}

TEST_CASE("no connection is made that the budget can't back") {
  Connection it({.memory_budget = 80 << 10});
  it.accept();
  CHECK(it.engine->counters().memory_bytes == 64 << 10);
  BuiltPacket syn = it.build({.sequence = 1, .flags = kSyn});
  Owner owner;
  auto second = it.engine->accept({kGuest.address, Port(2)}, kRemote, syn.header(), owner);
  REQUIRE(second);
  CHECK(it.engine->counters().memory_bytes == 80 << 10);
  CHECK_FALSE(it.engine->accept({kGuest.address, Port(3)}, kRemote, syn.header(), owner));
  CHECK_FALSE(it.engine->connect({kGuest.address, Port(80)}, kRemote, owner));
  second.reset();
  CHECK(it.engine->counters().memory_bytes == 64 << 10);
}

TEST_CASE("a window that the guest fills grows, but not beyond the budget") {
  std::size_t budget = GENERATE(std::size_t{64} << 10, std::size_t{512} << 20);
  Connection it({.memory_budget = budget});
  it.accept(65535, {2, 4, 5, 180, 1, 3, 3, 7});
  it.send({.sequence = 1000, .acknowledgment = it.first});
  std::uint32_t sequence = 1000;
  std::string block(16 << 10, 'x');
  for (int i = 0; i < 64; ++i) {
    it.send({.sequence = sequence, .acknowledgment = it.first, .payload = block});
    sequence += static_cast<std::uint32_t>(block.size());
    it.endpoint->consume(it.endpoint->received());
    it.endpoint->finish_batch();
  }
  CHECK(it.engine->counters().memory_bytes <= budget);
  if (budget > 64 << 10) {
    CHECK(it.engine->counters().memory_bytes > 64 << 10);
  } else {
    CHECK(it.engine->counters().memory_bytes == 64 << 10);
  }
}

TEST_CASE("a connection to the guest comes from the address given") {
  Connection it;
  it.endpoint = it.engine->connect(kGuest, kRemote, it.owner);
  REQUIRE(it.endpoint);
  REQUIRE(it.port.seen.size() == 1);
  CHECK(it.port.seen[0].flags.bits == kSyn);
  CHECK(it.port.seen[0].source == kRemote);
  CHECK(it.port.seen[0].destination == kGuest);
  std::uint32_t next = it.port.seen[0].sequence + 1;
  SECTION("accepted") {
    it.send(
        {.sequence = 999, .acknowledgment = next, .flags = kSyn | kAck, .options = {2, 4, 5, 180}});
    CHECK(it.endpoint->established());
  }
  SECTION("refused") {
    it.send({.sequence = 0, .acknowledgment = next, .flags = kRst | kAck});
    CHECK(it.endpoint->closed() == CloseReason::reset);
  }
}
