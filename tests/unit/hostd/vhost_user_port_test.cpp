#include "hostd/attach/vhost_user_port.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <catch2/catch.hpp>

#include "hostd/attach/unix_socket.h"
#include "hostd/port_kit.h"
#include "hostd/vhost_kit.h"
#include "support/letters.h"
#include "support/tcp_frames.h"

namespace sluice::test {

using hostd::VhostUserPort;
using hostd::VhostUserRequest;
using link::FrameClass;
using link::SendResult;

namespace {

constexpr std::uint16_t kSize = 16;
constexpr std::size_t kMemory = 4 << 20, kTxRing = 8192, kBuffers = 1 << 20;
constexpr std::uint64_t kVersion1 = std::uint64_t{1} << 32, kProtocol = 1 << 30, kEvents = 1 << 29,
                        kIndirectTables = 1 << 28, kMerged = 1 << 15, kReplyAck = 1 << 3,
                        kGuestChecksum = 1 << 1, kGuestTcp4 = 1 << 7, kGuestTcp6 = 1 << 8,
                        kGuestOffloads = kGuestChecksum | kGuestTcp4 | kGuestTcp6;

/// A port, and the VMM and guest that talk to it.
struct World {
  World() : port(std::make_unique<VhostUserPort>(loop, listen(), [this] { ++gone; })) {
    port->set_handler(&handler);
  }

  UniqueFd listen() { return std::move(*hostd::listen_unix_stream(directory.path("nic"))); }

  void connect() { vmm = std::move(*hostd::connect_unix_stream(directory.path("nic"))); }

  void tell(VhostUserRequest request, std::span<const std::uint8_t> payload,
            std::vector<int> fds = {}, std::uint32_t flags = 1) {
    std::vector<std::uint8_t> bytes = vhost_message(request, payload, flags);
    iovec piece{bytes.data(), bytes.size()};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * 16)> control{};
    msghdr message{};
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    if (!fds.empty()) {
      message.msg_control = control.data();
      message.msg_controllen = CMSG_SPACE(sizeof(int) * fds.size());
      cmsghdr* header = CMSG_FIRSTHDR(&message);
      header->cmsg_level = SOL_SOCKET;
      header->cmsg_type = SCM_RIGHTS;
      header->cmsg_len = CMSG_LEN(sizeof(int) * fds.size());
      std::memcpy(CMSG_DATA(header), fds.data(), sizeof(int) * fds.size());
    }
    REQUIRE(::sendmsg(vmm.get(), &message, MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size()));
  }
  void tell_number(VhostUserRequest request, std::uint64_t number, std::vector<int> fds = {}) {
    tell(request, bytes_of(number), std::move(fds));
  }
  void tell_state(VhostUserRequest request, std::uint32_t index, std::uint32_t value) {
    tell(request, bytes_of(hostd::VringState{index, value}));
  }
  /// The number in the next reply.
  std::uint64_t reply() {
    std::array<std::uint8_t, 20> bytes{};
    REQUIRE(run_until(
        loop, [&] { return ::recv(vmm.get(), bytes.data(), bytes.size(), MSG_DONTWAIT) == 20; }));
    std::uint64_t value = 0;
    std::memcpy(&value, bytes.data() + 12, sizeof value);
    return value;
  }
  /// What was told is done.
  void sync() {
    tell(VhostUserRequest::get_queue_num, {});
    CHECK(reply() == 1);
  }
  bool is_closed() {
    char byte;
    return run_until(loop, [&] {
      ssize_t n = ::recv(vmm.get(), &byte, 1, MSG_DONTWAIT);
      return n == 0 || (n < 0 && errno == ECONNRESET);
    });
  }

  void share_memory() {
    hostd::MemoryRegion region = pages.region();
    UniqueFd fd = pages.fd();
    tell(VhostUserRequest::set_mem_table, memory_table({&region, 1}), {fd.get()});
  }

  void set_ring(std::uint32_t index, const DriverRing& ring, std::uint32_t base = 0) {
    tell_state(VhostUserRequest::set_vring_num, index, ring.size());
    tell_state(VhostUserRequest::set_vring_base, index, base);
    hostd::VringAddress address = ring.address(index);
    std::vector<std::uint8_t> bytes = bytes_of(address);
    bytes.resize(40);
    tell(VhostUserRequest::set_vring_addr, bytes);
    tell_number(VhostUserRequest::set_vring_call, index, {calls[index].get()});
    tell_number(VhostUserRequest::set_vring_kick, index, {kicks[index].get()});
    tell_state(VhostUserRequest::set_vring_enable, index, 1);
  }

  void start(std::uint64_t features = kVersion1 | kMerged | kEvents | kIndirectTables) {
    connect();
    tell(VhostUserRequest::set_owner, {});
    tell(VhostUserRequest::get_features, {});
    offered = reply();
    tell_number(VhostUserRequest::set_features, features | kProtocol);
    share_memory();
    set_ring(0, rx);
    set_ring(1, tx);
    sync();
  }

  void kick(std::size_t index) {
    std::uint64_t one = 1;
    REQUIRE(::write(kicks[index].get(), &one, sizeof one) == sizeof one);
  }

  /// Puts a frame behind a plain header into the guest's memory; its address.
  std::uint64_t put_frame(const std::string& frame, std::size_t place = 0) {
    std::size_t at = kBuffers + place * 131072;
    std::memset(pages.at(at), 0, 12);
    std::memcpy(pages.at(at + 12), frame.data(), frame.size());
    return kGuestBase + at;
  }
  void send(const std::string& frame, std::uint16_t descriptor = 0) {
    std::uint64_t at = put_frame(frame, descriptor);
    tx.add(descriptor, {{at, static_cast<std::uint32_t>(12 + frame.size())}});
    kick(1);
  }

  /// Gives receive buffers of `size` bytes each.
  void offer(std::uint16_t count, std::uint32_t size) {
    for (std::uint16_t i = 0; i < count; ++i) {
      rx.add(offered_buffers % kSize,
             {{kGuestBase + kBuffers + offered_buffers % kSize * 131072, size, kWrite}});
      ++offered_buffers;
    }
  }
  /// What the guest got in the used buffers from `first` on that one frame takes.
  std::string received(std::uint16_t first) {
    std::string out;
    auto [head, size] = rx.used_entry(first);
    auto count = pages.get<std::uint16_t>(kBuffers + head * 131072 + 10);
    for (std::uint16_t i = 0; i < std::max<std::uint16_t>(count, 1); ++i) {
      auto [id, bytes] = rx.used_entry(static_cast<std::uint16_t>(first + i));
      const auto* at = reinterpret_cast<const char*>(pages.at(kBuffers + id * 131072));
      out.append(at, bytes);
    }
    return out.substr(12);
  }
  /// How often the guest was called for a queue since this was last asked.
  std::uint64_t call_count(std::size_t index) {
    std::uint64_t count = 0;
    return ::read(calls[index].get(), &count, sizeof count) == sizeof count ? count : 0;
  }
  bool got_link(bool up) {
    return run_until(loop, [&] { return !handler.links.empty() && handler.links.back() == up; });
  }

  VirtualLoop loop;
  TempDirectory directory;
  Recorder handler;
  int gone = 0;
  std::unique_ptr<VhostUserPort> port;
  UniqueFd vmm;
  GuestPages pages{kMemory};
  DriverRing rx{pages, 0, kSize}, tx{pages, kTxRing, kSize};
  std::array<UniqueFd, 2> kicks{make_eventfd(), make_eventfd()};
  std::array<UniqueFd, 2> calls{make_eventfd(), make_eventfd()};
  std::uint64_t offered = 0;
  std::uint16_t offered_buffers = 0;
};

const std::string kFrame = "destinsource\x88\xb5" + std::string(60, 'f');

}  // namespace

TEST_CASE("frames go through a guest's queues both ways") {
  World world;
  world.start();
  REQUIRE(world.got_link(true));
  world.send(kFrame);
  REQUIRE(run_until(world.loop, [&] { return !world.handler.frames.empty(); }));
  CHECK(world.handler.frames == std::vector<std::string>{kFrame});
  CHECK(world.tx.used_index() == 1);

  world.offer(4, 4096);
  CountedFrame answer(9000);
  CHECK(world.port->send(answer.view(), FrameClass::data) == SendResult::sent);
  world.port->flush();
  CHECK(answer.releases == 1);
  CHECK(world.rx.used_index() == 3);
  CHECK(world.received(0) == answer.bytes());
  CHECK(world.port->counters().rx_frames == 1);
}

TEST_CASE("a frame in many pieces, or behind a table, is put together") {
  World world;
  world.start();
  std::uint64_t at = world.put_frame(kFrame);
  world.tx.add(0, {{at, 5}, {at + 5, 7}, {at + 12, 1}, {at + 13, 73}});
  world.kick(1);
  REQUIRE(run_until(world.loop, [&] { return world.handler.frames.size() == 1; }));
  CHECK(world.handler.frames[0] == kFrame);
}

TEST_CASE("the payload of a long TCP segment is lent, and its buffer given back after it") {
  World world;
  world.start();
  auto [what, whole, lent] = GENERATE(table<std::string, std::uint32_t, bool>({
      {"its checksum is left to us", 8192, true},
      {"it is a byte too short", 8191, false},
      {"its checksum is said to be right", 8192, true},
      {"its checksum is to be verified", 8192, false},
      {"its checksum is elsewhere", 8192, false},
      {"it is UDP", 8192, false},
      {"it is a fragment", 8192, false},
      {"it has a FIN", 8192, false},
  }));
  CAPTURE(what);
  TcpFrameSpec spec;
  spec.payload = std::string(whole - 12 - 66, 'p');
  auto frame = make_tcp_frame(spec);
  frame[frame.size() - 1] = 'e';
  std::array<std::uint8_t, 12> header{1, 0, 0, 0, 0, 0, 34, 0, 16, 0};
  if (what == "its checksum is said to be right") header = {2};
  if (what == "its checksum is to be verified") header = {};
  if (what == "its checksum is elsewhere") header[8] = 6;
  if (what == "it has a FIN") frame[47] |= 1;
  if (what == "it is UDP") {
    frame[23] = 17;
    header = {};
  }
  if (what == "it is a fragment") {
    frame[20] = 0x20;
    header = {2};
  }
  std::string text(frame.begin(), frame.end());
  std::uint64_t at = world.put_frame(text);
  std::ranges::copy(header, world.pages.at(kBuffers));
  // Cut within the headers, within what is copied, and behind that.
  world.tx.add(
      0, {{at, 30}, {at + 30, 100}, {at + 130, 0}, {at + 130, 4000}, {at + 4130, whole - 4130}});
  std::uint16_t given_back = 0xffff;
  world.handler.on_batch = [&] { given_back = world.tx.used_index(); };
  world.kick(1);
  REQUIRE(run_until(world.loop, [&] { return world.handler.frames.size() == 1; }));
  // As it is changed where its checksum stands elsewhere.
  if (what != "its checksum is elsewhere") CHECK((world.handler.frames[0] == text));
  CHECK(world.handler.lent == (lent ? 1 : 0));
  CHECK(given_back == (lent ? 0 : 1));
  CHECK(world.tx.used_index() == 1);
  // And the next one.
  world.send(kFrame, 8);
  REQUIRE(run_until(world.loop, [&] { return world.handler.frames.size() == 2; }));
  CHECK(world.handler.frames[1] == kFrame);
}

TEST_CASE("of a segment in many small pieces nothing is lent") {
  World world;
  world.start();
  TcpFrameSpec spec;
  auto pieces = GENERATE(8u, 9u);
  // What is behind the copied head has 1024 bytes a piece, or fewer.
  spec.payload = std::string(12 + 192 + 8 * 1024 - 12 - 66, 'p');
  auto frame = make_tcp_frame(spec);
  std::string text(frame.begin(), frame.end());
  std::uint64_t at = world.put_frame(text);
  world.pages.put<std::uint8_t>(kBuffers, 2);
  std::vector<Piece> chain{{at, 12 + 192}};
  auto rest = static_cast<std::uint32_t>(text.size() - 192);
  for (std::uint32_t i = 0; i < pieces; ++i) {
    std::uint32_t from = rest * i / pieces, to = rest * (i + 1) / pieces;
    chain.push_back({at + 12 + 192 + from, to - from});
  }
  world.tx.add(0, chain);
  world.kick(1);
  REQUIRE(run_until(world.loop, [&] { return world.handler.frames.size() == 1; }));
  CHECK((world.handler.frames[0] == text));
  CHECK(world.handler.lent == (pieces == 8 ? 1 : 0));
}

TEST_CASE("lent and copied frames of one batch keep their order and their bytes") {
  World world;
  world.start();
  TcpFrameSpec spec;
  std::vector<std::string> sent;
  for (std::uint16_t i = 0; i < 6; ++i) {
    spec.payload = std::string(i % 2 == 0 ? 9000 + i : 100u, static_cast<char>('a' + i));
    auto frame = make_tcp_frame(spec);
    sent.emplace_back(frame.begin(), frame.end());
    std::uint64_t at = world.put_frame(sent.back(), i);
    world.pages.put<std::uint8_t>(kBuffers + std::size_t{i} * 131072, 2);
    auto size = static_cast<std::uint32_t>(12 + frame.size());
    world.tx.add(static_cast<std::uint16_t>(2 * i), {{at, 90}, {at + 90, size - 90}});
  }
  world.kick(1);
  REQUIRE(run_until(world.loop, [&] { return world.handler.frames.size() == 6; }));
  CHECK((world.handler.frames == sent));
  CHECK(world.handler.lent == 3);
  REQUIRE(world.tx.used_index() == 6);
  for (std::uint16_t i = 0; i < 6; ++i) CHECK(world.tx.used_entry(i).first == 2u * i);
}

TEST_CASE("of long segments as many as the queue holds are one batch") {
  World world;
  world.start();
  TcpFrameSpec spec;
  std::vector<std::string> sent;
  for (std::uint16_t i = 0; i < kSize; ++i) {
    spec.payload = std::string(60000u + i, static_cast<char>('a' + i));
    auto frame = make_tcp_frame(spec);
    sent.emplace_back(frame.begin(), frame.end());
    std::uint64_t at = world.put_frame(sent.back(), i);
    world.pages.put<std::uint8_t>(kBuffers + std::size_t{i} * 131072, 2);
    world.tx.add(i, {{at, static_cast<std::uint32_t>(12 + frame.size())}});
  }
  int batches = 0;
  world.handler.on_batch = [&] { ++batches; };
  world.kick(1);
  REQUIRE(run_until(world.loop, [&] { return world.handler.frames.size() == kSize; }));
  CHECK((world.handler.frames == sent));
  CHECK(world.handler.lent == kSize);
  CHECK(batches == 1);
}

TEST_CASE("the guest is called at the end of a batch, or when a quarter of its buffers is filled") {
  World world;
  world.start();
  REQUIRE(world.got_link(true));
  world.offer(kSize, 65536);
  std::vector<std::unique_ptr<CountedFrame>> frames;
  auto send = [&](std::size_t size) {
    auto& frame = frames.emplace_back(std::make_unique<CountedFrame>(size));
    REQUIRE(world.port->send(frame->view(), FrameClass::data) == SendResult::sent);
  };
  SECTION("at its end") {
    for (int i = 0; i < 3; ++i) send(60000);
    CHECK(world.call_count(0) == 0);
    world.port->flush();
    CHECK(world.rx.used_index() == 3);
  }
  SECTION("before it") {
    for (int i = 0; i < 5; ++i) send(60000);
    CHECK(world.rx.used_index() >= kSize / 4);
  }
  CHECK(world.call_count(0) == 1);
  world.port->flush();
  CHECK(world.call_count(0) == 0);
}

TEST_CASE("what lies in the queue before the first kick is taken") {
  World world;
  std::uint64_t at = world.put_frame(kFrame);
  world.tx.add(0, {{at, static_cast<std::uint32_t>(12 + kFrame.size())}});
  world.start();
  CHECK(run_until(world.loop, [&] { return world.handler.frames.size() == 1; }));
}

TEST_CASE("a frame waits for the guest's buffers, and leaves when there are enough") {
  World world;
  world.start();
  REQUIRE(world.got_link(true));
  CountedFrame frame(5000);
  CHECK(world.port->send(frame.view(), FrameClass::data) == SendResult::sent);
  world.port->flush();
  world.offer(1, 4096);
  world.kick(0);
  world.loop.poll_watches();
  CHECK(world.rx.used_index() == 0);
  world.offer(1, 4096);
  world.kick(0);
  REQUIRE(run_until(world.loop, [&] { return world.rx.used_index() == 2; }));
  CHECK(world.received(0) == frame.bytes());
  CHECK(frame.releases == 1);
}

TEST_CASE("what nobody has read is copied behind the headers, into as many buffers as it takes") {
  World world;
  world.start(kVersion1 | kMerged | kGuestOffloads);
  REQUIRE(world.got_link(true));
  CHECK(world.port->takes_unread());
  for (std::size_t read : {0u, 1000u, 3000u}) {
    UnreadFrame frame(std::string(read, 'r'), letters(9000));
    world.offer(8, 2048);
    std::uint16_t first = world.rx.used_index();
    CHECK(world.port->send(frame.view(), FrameClass::data) == SendResult::sent);
    world.port->flush();
    CHECK(frame.releases == 1);
    REQUIRE(world.rx.used_index() > first);
    CHECK((world.received(first).substr(frame.head.size()) == frame.read + frame.unread));
  }
}

TEST_CASE("a frame whose unread bytes are gone is lost alone, and its buffers are not") {
  World world;
  world.start(kVersion1 | kMerged | kGuestOffloads);
  REQUIRE(world.got_link(true));
  world.offer(8, 2048);
  UnreadFrame gone("", letters(9000));
  gone.is_there = false;
  CHECK(world.port->send(gone.view(), FrameClass::data) == SendResult::sent);
  CountedFrame next(9000);
  CHECK(world.port->send(next.view(), FrameClass::data) == SendResult::sent);
  world.port->flush();
  CHECK(gone.releases == 1);
  CHECK(world.port->counters().rx_lost == 1);
  CHECK(world.received(0) == next.bytes());
}

TEST_CASE("a guest that has to have its frames cut or summed gets none that nobody has read") {
  World world;
  auto features = GENERATE(0, kGuestChecksum, kGuestChecksum | kGuestTcp4);
  world.start(kVersion1 | kMerged | features);
  REQUIRE(world.got_link(true));
  CHECK_FALSE(world.port->takes_unread());
}

TEST_CASE("a guest that takes nothing is refused more, and told of room once it does") {
  World world;
  world.start();
  REQUIRE(world.got_link(true));
  int sent = 0;
  std::vector<std::unique_ptr<CountedFrame>> frames;
  for (; sent < 1000; ++sent) {
    auto& frame = frames.emplace_back(std::make_unique<CountedFrame>(60000));
    if (world.port->send(frame->view(), FrameClass::data) == SendResult::full) break;
  }
  REQUIRE(sent < 1000);
  CHECK(world.handler.spaces == 0);
  for (int i = 0; i < 1000 && world.handler.spaces == 0; ++i) {
    if (world.offered_buffers - world.rx.used_index() < kSize) world.offer(1, 65536);
    world.kick(0);
    world.loop.poll_watches();
  }
  CHECK(world.handler.spaces == 1);
}

TEST_CASE("a frame that the guest's buffers can never hold is lost alone") {
  World world;
  std::uint64_t features = GENERATE(kVersion1 | kMerged, kVersion1);
  world.start(features);
  REQUIRE(world.got_link(true));
  world.offer(kSize, 256);
  CountedFrame large(kSize * 256);
  CHECK(world.port->send(large.view(), FrameClass::data) == SendResult::sent);
  world.port->flush();
  CHECK(large.releases == 1);
  CHECK(world.port->counters().rx_lost == 1);
  CHECK(world.rx.used_index() == 0);
  CHECK(world.port->send(plain_frame(kFrame), FrameClass::data) == SendResult::sent);
  world.port->flush();
  CHECK(world.rx.used_index() == 1);
}

TEST_CASE("the header is short for a guest of before virtio 1.0") {
  World world;
  world.start(0);
  REQUIRE(world.got_link(true));
  world.offer(1, 4096);
  CHECK(world.port->send(plain_frame(kFrame), FrameClass::data) == SendResult::sent);
  world.port->flush();
  REQUIRE(world.rx.used_index() == 1);
  CHECK(world.rx.used_entry(0).second == 10 + kFrame.size());
  CHECK(std::memcmp(world.pages.at(kBuffers + 10), kFrame.data(), kFrame.size()) == 0);
}

TEST_CASE("frames that are too short or too long are counted, and the next one goes on") {
  World world;
  world.start();
  std::uint64_t at = world.put_frame(kFrame);
  world.tx.add(0, {{at, 11}});
  world.tx.add(1, {{at, 65536}, {at, 65536}});
  world.tx.add(3, {{at, static_cast<std::uint32_t>(12 + kFrame.size())}});
  world.kick(1);
  REQUIRE(run_until(world.loop, [&] { return world.handler.frames.size() == 1; }));
  CHECK(world.port->counters().tx_malformed == 2);
  CHECK(world.tx.used_index() == 3);
}

TEST_CASE("a queue at fault stops the link, and goes on when it is set up anew") {
  World world;
  world.start();
  REQUIRE(world.got_link(true));
  std::size_t queue = GENERATE(0u, 1u);
  (queue == 0 ? world.rx : world.tx).set_available_index(1000);
  world.kick(1);
  CHECK(world.port->send(plain_frame(kFrame), FrameClass::data) == SendResult::sent);
  world.port->flush();
  REQUIRE(world.got_link(false));
  for (std::uint32_t index : {0u, 1u}) {
    world.tell_state(VhostUserRequest::get_vring_base, index, 0);
    world.reply();
  }
  world.rx = DriverRing(world.pages, 16384, kSize);
  world.tx = DriverRing(world.pages, 24576, kSize);
  world.set_ring(0, world.rx);
  world.set_ring(1, world.tx);
  REQUIRE(world.got_link(true));
  world.send(kFrame);
  CHECK(run_until(world.loop, [&] { return world.handler.frames.size() == 1; }));
}

TEST_CASE("a VMM that goes and comes back is served again, and the port tells of both") {
  World world;
  world.start();
  REQUIRE(world.got_link(true));
  world.vmm.reset();
  REQUIRE(world.got_link(false));
  REQUIRE(run_until(world.loop, [&] { return world.gone == 1; }));
  world.start();
  REQUIRE(world.got_link(true));
  world.send(kFrame);
  CHECK(run_until(world.loop, [&] { return world.handler.frames.size() == 1; }));
  CHECK(world.handler.links == std::vector<bool>{true, false, true});
}

TEST_CASE("a guest that stops its queues and starts them again goes on where it was") {
  World world;
  world.start();
  world.send(kFrame);
  REQUIRE(run_until(world.loop, [&] { return world.handler.frames.size() == 1; }));
  world.tell_state(VhostUserRequest::get_vring_base, 1, 0);
  CHECK(world.reply() >> 32 == 1);
  REQUIRE(world.got_link(false));
  world.set_ring(1, world.tx, 1);
  REQUIRE(world.got_link(true));
  world.send(kFrame, 1);
  CHECK(run_until(world.loop, [&] { return world.handler.frames.size() == 2; }));
  CHECK(world.gone == 0);
}

TEST_CASE("memory that is shared anew takes the place of the old, while queues run") {
  World world;
  world.start();
  REQUIRE(world.got_link(true));
  world.share_memory();
  world.sync();
  world.send(kFrame);
  CHECK(run_until(world.loop, [&] { return world.handler.frames.size() == 1; }));
  CHECK(world.handler.links == std::vector<bool>{true});
}

TEST_CASE("memory without the rings ends the connection") {
  World world;
  world.start();
  REQUIRE(world.got_link(true));
  hostd::MemoryRegion elsewhere{kGuestBase, kMemory, kUserBase + kMemory, 0};
  UniqueFd fd = world.pages.fd();
  world.tell(VhostUserRequest::set_mem_table, memory_table({&elsewhere, 1}), {fd.get()});
  CHECK(world.is_closed());
  CHECK(world.got_link(false));
}

TEST_CASE("a reply is sent where it is asked for, once that was agreed on") {
  World world;
  world.connect();
  world.tell(VhostUserRequest::get_protocol_features, {});
  CHECK((world.reply() & kReplyAck) != 0);
  world.tell_number(VhostUserRequest::set_protocol_features, kReplyAck);
  world.tell(VhostUserRequest::set_owner, {}, {}, 1 | 8);
  CHECK(world.reply() == 0);
}

TEST_CASE("a second VMM is turned away, and the first goes on") {
  World world;
  world.start();
  UniqueFd second = std::move(*hostd::connect_unix_stream(world.directory.path("nic")));
  char byte;
  REQUIRE(run_until(world.loop, [&] { return ::recv(second.get(), &byte, 1, 0) == 0; }));
  world.send(kFrame);
  CHECK(run_until(world.loop, [&] { return world.handler.frames.size() == 1; }));
}

TEST_CASE("a message that is not right ends the connection, and the next one works") {
  World world;
  world.connect();
  UniqueFd null = make_eventfd(), file = world.pages.fd();
  auto [left, right] = socket_pair(SOCK_STREAM);
  using R = VhostUserRequest;
  hostd::VringAddress address = world.tx.address(1);
  SECTION("an unknown one") {
    world.tell(static_cast<R>(99), {});
  }
  SECTION("another version") {
    world.tell(R::set_owner, {}, {}, 2);
  }
  SECTION("a reply") {
    world.tell(R::set_owner, {}, {}, 5);
  }
  SECTION("a payload without end") {
    std::uint32_t header[] = {1, 1, 0xffffffff};
    REQUIRE(::send(world.vmm.get(), header, sizeof header, 0) == sizeof header);
  }
  SECTION("a payload of the wrong size") {
    world.tell(R::set_vring_num, bytes_of(std::uint32_t{1}));
  }
  SECTION("features that were not offered") {
    world.tell_number(R::set_features, ~std::uint64_t{0});
  }
  SECTION("protocol features likewise") {
    world.tell_number(R::set_protocol_features, 1);
  }
  SECTION("a ring that is none") {
    world.tell_state(R::set_vring_num, 2, 16);
  }
  SECTION("a size that is none") {
    world.tell_state(R::set_vring_num, 0, GENERATE(0u, 3u, 65536u, 0x80000000u));
  }
  SECTION("an index beyond 16 bits") {
    world.tell_state(R::set_vring_base, 0, 65536);
  }
  SECTION("a kick without a descriptor") {
    world.tell_number(R::set_vring_kick, 0);
  }
  SECTION("a kick that would have to be polled") {
    world.tell_number(R::set_vring_kick, 0x100);
  }
  SECTION("a kick that is a socket") {
    world.tell_number(R::set_vring_kick, 0, {left.get()});
  }
  SECTION("a kick that is a file") {
    world.tell_number(R::set_vring_kick, 0, {file.get()});
  }
  SECTION("a call for a ring that is none") {
    world.tell_number(R::set_vring_call, 7, {null.get()});
  }
  SECTION("a log") {
    address.flags = 1;
    std::vector<std::uint8_t> bytes = bytes_of(address);
    bytes.resize(40);
    world.tell(R::set_vring_addr, bytes);
  }
  SECTION("a table of more regions than it has") {
    world.tell(R::set_mem_table, bytes_of(std::uint64_t{3}));
  }
  SECTION("a table without files") {
    hostd::MemoryRegion region = world.pages.region();
    world.tell(R::set_mem_table, memory_table({&region, 1}));
  }
  SECTION("more descriptors than a message has") {
    std::vector<int> fds(12, null.get());
    world.tell(R::set_owner, {}, fds);
  }
  SECTION("a ring that is not aligned") {
    world.tell_number(R::set_features, kVersion1);
    world.share_memory();
    address.descriptors += 8;
    std::vector<std::uint8_t> bytes = bytes_of(address);
    bytes.resize(40);
    world.tell_state(R::set_vring_num, 1, kSize);
    world.tell(R::set_vring_addr, bytes);
    world.tell_number(R::set_vring_kick, 1, {null.get()});
  }
  CHECK(world.is_closed());
  CHECK(run_until(world.loop, [&] { return world.gone == 1; }));
  world.start();
  CHECK(world.got_link(true));
}

TEST_CASE("a message may come a byte at a time") {
  World world;
  world.connect();
  for (std::uint8_t byte : vhost_message(VhostUserRequest::get_features, {})) {
    REQUIRE(::send(world.vmm.get(), &byte, 1, 0) == 1);
    world.loop.poll_watches();
  }
  CHECK((world.reply() & kVersion1) != 0);
}

}  // namespace sluice::test
