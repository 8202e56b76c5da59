#include "link/ring_port.h"

#include <poll.h>

#include <array>
#include <catch2/catch.hpp>
#include <cstring>

#include "link/port_log.h"
#include "link/test_frames.h"
#include "link/virtio_net.h"
#include "support/virtual_loop.h"
#include "wire/ethernet.h"
#include "wire/udp.h"

using namespace sluice;
using namespace sluice::link;
using test::numbered_frame;
using test::piece_of;
using test::PortLog;
using test::rx_frame;

namespace {

struct World {
  explicit World(RingOptions options = {}) {
    auto pair = std::move(RingPort::make(loop, options).value());
    port = std::move(pair.port);
    vmm = std::move(pair.link);
    port->set_handler(&log);
    loop.run_ready();
  }

  StatusCode from_guest(const std::string& frame) {
    iovec piece = piece_of(frame);
    return vmm->send({&piece, 1});
  }
  /// The loop runs as it would: woken by its descriptor, or not.
  void run_loop() {
    loop.poll_watches();
    loop.run_ready();
  }
  std::vector<std::string> to_guest() {
    std::vector<std::string> frames;
    for (auto frame = vmm->peek(); !frame.empty(); frame = vmm->peek()) {
      frames.emplace_back(frame.begin(), frame.end());
      vmm->pop();
    }
    return frames;
  }
  /// Sends until the port refuses; returns how many it took.
  std::size_t fill(FrameClass frame_class, std::size_t size = 100) {
    std::size_t taken = 0;
    while (port->send(rx_frame(numbered_frame(next++, size)), frame_class) == SendResult::sent) {
      ++taken;
    }
    return taken;
  }

  test::VirtualLoop loop;
  PortLog log;
  std::unique_ptr<RingPort> port;
  std::unique_ptr<RingLink> vmm;
  std::uint32_t next = 0;
};

bool readable(int fd) {
  pollfd item{.fd = fd, .events = POLLIN, .revents = 0};
  return ::poll(&item, 1, 0) == 1;
}

}  // namespace

namespace {

/// A frame behind a header, in two pieces.
StatusCode send_behind(RingLink& vmm, const VirtioNetHeader& header, const std::string& frame) {
  std::array<std::uint8_t, VirtioNetHeader::kSize> bytes{};
  header.write(bytes);
  std::array<iovec, 2> pieces{iovec{bytes.data(), bytes.size()}, piece_of(frame)};
  return vmm.send(pieces);
}

VirtioNetHeader header_of(const std::string& frame) {
  REQUIRE(frame.size() >= VirtioNetHeader::kSize);
  return VirtioNetHeader::read(
      {reinterpret_cast<const std::uint8_t*>(frame.data()), VirtioNetHeader::kSize});
}

/// The same frame, of which only the first `pieces` of the payload have been read.
class UnreadTail final : public UnreadSource {
 public:
  UnreadTail(const test::TestFrame& frame, std::size_t pieces) : view_(frame.view()) {
    for (const iovec& piece : view_.payload.subspan(pieces)) {
      tail_.append(static_cast<const char*>(piece.iov_base), piece.iov_len);
    }
    view_.payload = view_.payload.first(pieces);
    view_.unread = {.source = this, .position = kPosition, .size = tail_.size()};
    view_.release = [](void* owner) { ++static_cast<UnreadTail*>(owner)->releases; };
    view_.owner = this;
  }
  const RxFrame& view() const { return view_; }
  bool copy(std::uint64_t position, std::span<const iovec> to) override {
    if (!is_there || position != kPosition || to.size() != 1) return false;
    if (to[0].iov_len != tail_.size()) return false;
    std::memcpy(to[0].iov_base, tail_.data(), tail_.size());
    return true;
  }

  bool is_there = true;
  int releases = 0;

 private:
  static constexpr std::uint64_t kPosition = 77;
  RxFrame view_;
  std::string tail_;
};

constexpr GuestOffloads kAllOffloads{.checksum = true, .tcp4 = true, .tcp6 = true, .tcp_ecn = true};

}  // namespace

TEST_CASE("what nobody has read arrives as if it had been, whatever the guest takes by then") {
  World world({.virtio_header = true});
  auto family = GENERATE(Family::v4, Family::v6);
  std::size_t read_pieces = GENERATE(as<std::size_t>{}, 0, 1, 5);
  auto taken_by_then =
      GENERATE(as<GuestOffloads>{}, kAllOffloads, GuestOffloads{.checksum = true}, GuestOffloads{});
  world.vmm->set_guest_offloads(kAllOffloads);
  CHECK(world.port->takes_unread());
  world.vmm->set_guest_offloads(taken_by_then);
  test::TestFrame frame({.family = family, .payload = 5000, .segment_size = 1000});
  CHECK(world.port->send(frame.view(), FrameClass::data) == SendResult::sent);
  auto expected = world.to_guest();
  UnreadTail unread(frame, read_pieces);
  CHECK(world.port->send(unread.view(), FrameClass::data) == SendResult::sent);
  CHECK(unread.releases == 1);
  CHECK((world.to_guest() == expected));
}

TEST_CASE("a frame whose unread bytes are gone is lost alone, and its place is not") {
  World world({.rx_frames = 16, .virtio_header = true});
  auto taken_by_then = GENERATE(as<GuestOffloads>{}, kAllOffloads, GuestOffloads{});
  world.vmm->set_guest_offloads(taken_by_then);
  test::TestFrame frame({.payload = 5000, .segment_size = 5000});
  for (int i = 1; i <= 100; ++i) {
    UnreadTail gone(frame, 2);
    gone.is_there = false;
    CHECK(world.port->send(gone.view(), FrameClass::data) == SendResult::sent);
    CHECK(gone.releases == 1);
    CHECK(world.port->counters().rx_lost == static_cast<std::uint64_t>(i));
  }
  CHECK(world.to_guest().empty());
  CHECK(world.port->send(frame.view(), FrameClass::data) == SendResult::sent);
  CHECK(world.to_guest().size() == 1);
}

TEST_CASE("a full ring keeps nothing of what is unread") {
  World world({.rx_frames = 16, .virtio_header = true});
  auto taken_by_then = GENERATE(as<GuestOffloads>{}, kAllOffloads, GuestOffloads{});
  world.vmm->set_guest_offloads(taken_by_then);
  test::TestFrame frame({.payload = 5000, .segment_size = 5000});
  UnreadTail unread(frame, 0);
  int sent = 0;
  while (world.port->send(unread.view(), FrameClass::data) == SendResult::sent) ++sent;
  CHECK(sent > 0);
  CHECK(unread.releases == sent);
  CHECK(world.to_guest().size() == static_cast<std::size_t>(sent));
}

TEST_CASE("a guest that has to have its frames cut or summed gets none that nobody has read") {
  World plain;
  plain.vmm->set_guest_offloads(kAllOffloads);
  CHECK_FALSE(plain.port->takes_unread());
  World world({.virtio_header = true});
  CHECK_FALSE(world.port->takes_unread());
  for (GuestOffloads less :
       {GuestOffloads{.checksum = true, .tcp4 = true},
        GuestOffloads{.checksum = true, .tcp6 = true}, GuestOffloads{.tcp4 = true, .tcp6 = true}}) {
    world.vmm->set_guest_offloads(less);
    CHECK_FALSE(world.port->takes_unread());
  }
}

TEST_CASE("behind virtio headers frames of every size cross, both ways") {
  World world({.virtio_header = true});
  std::vector<std::string> sent;
  for (std::size_t size : {14ul, 60ul, 1514ul, 2036ul, 2037ul, 9014ul, kMaxFrame}) {
    sent.push_back(std::string(size, static_cast<char>('a' + sent.size())));
    CHECK(send_behind(*world.vmm, {}, sent.back()) == StatusCode::ok);
    CHECK(world.port->send(rx_frame(sent.back()), FrameClass::data) == SendResult::sent);
  }
  CHECK(send_behind(*world.vmm, {}, std::string(13, 's')) == StatusCode::invalid_argument);
  CHECK(send_behind(*world.vmm, {}, std::string(kMaxFrame + 1, 'l')) ==
        StatusCode::invalid_argument);
  world.vmm->flush();
  world.port->flush();
  world.run_loop();
  CHECK(world.log.frames == sent);
  auto received = world.to_guest();
  REQUIRE(received.size() == sent.size());
  for (std::size_t i = 0; i < sent.size(); ++i) {
    CHECK(header_of(received[i]).flags == 0);
    CHECK(header_of(received[i]).buffers == 1);
    CHECK((received[i].substr(VirtioNetHeader::kSize) == sent[i]));
  }
  CHECK(world.port->counters().tx_bytes == world.vmm->counters().tx_bytes);
  CHECK(world.port->counters().rx_bytes == world.vmm->counters().rx_bytes);
}

TEST_CASE("a guest that takes segments whole gets them so, from when it says that it does") {
  World world({.virtio_header = true});
  test::TestFrame frame({.payload = 5000, .segment_size = 1000});
  CHECK(world.port->send(frame.view(), FrameClass::data) == SendResult::sent);
  auto cut = world.to_guest();
  REQUIRE(cut.size() == 5);
  for (const std::string& one : cut) {
    CHECK(header_of(one).flags == 0);
    CHECK(test::checksums_are_right({one.begin() + VirtioNetHeader::kSize, one.end()}));
  }
  world.vmm->set_guest_offloads({.checksum = true, .tcp4 = true});
  CHECK(world.port->send(frame.view(), FrameClass::data) == SendResult::sent);
  auto whole = world.to_guest();
  REQUIRE(whole.size() == 1);
  VirtioNetHeader header = header_of(whole[0]);
  CHECK(header.flags == VirtioNetHeader::kNeedsChecksum);
  CHECK(header.gso == VirtioNetHeader::kTcp4);
  CHECK(header.segment_size == 1000);
  CHECK(header.buffers == 1);
  CHECK(whole[0].size() == VirtioNetHeader::kSize + frame.view().head.size() + 5000);
  // IPv6 it cuts none, but sums.
  test::TestFrame six({.family = Family::v6, .payload = 1500, .segment_size = 1000});
  CHECK(world.port->send(six.view(), FrameClass::data) == SendResult::sent);
  CHECK(world.to_guest().size() == 2);
  world.vmm->set_guest_offloads({.tcp4 = true});
  CHECK(world.port->send(frame.view(), FrameClass::data) == SendResult::sent);
  CHECK(world.to_guest().size() == 5);
}

TEST_CASE("what a guest leaves to its NIC is vouched for, cut, or dropped where it does not fit") {
  World world({.virtio_header = true});
  std::string frame = numbered_frame(1, 100);
  CHECK(send_behind(*world.vmm, {.flags = VirtioNetHeader::kNeedsChecksum, .checksum_start = 99},
                    frame) == StatusCode::ok);
  CHECK(send_behind(*world.vmm, {.gso = VirtioNetHeader::kTcp4, .segment_size = 10}, frame) ==
        StatusCode::ok);
  CHECK(send_behind(*world.vmm, {}, frame) == StatusCode::ok);
  world.vmm->flush();
  world.run_loop();
  CHECK(world.log.frames == std::vector<std::string>{frame});
  CHECK(world.port->counters().tx_malformed == 2);
  CHECK(world.port->held_buffers() == 0);

  wire::EthernetHeader ethernet{MacAddress(), MacAddress(), wire::EtherType::ipv4};
  std::vector<std::uint8_t> datagrams(14 + 28 + 2500, 'd');
  ethernet.emit(datagrams);
  REQUIRE(wire::emit_udp(Bytes(datagrams).subspan(14), *Endpoint::parse("192.168.127.2:4000"),
                         *Endpoint::parse("198.18.0.2:5000"),
                         std::vector<std::uint8_t>(2500, 'd')) == 2528);
  CHECK(send_behind(*world.vmm,
                    {.flags = VirtioNetHeader::kNeedsChecksum,
                     .gso = VirtioNetHeader::kUdpL4,
                     .segment_size = 1000,
                     .checksum_start = 34,
                     .checksum_offset = 6},
                    {datagrams.begin(), datagrams.end()}) == StatusCode::ok);
  world.vmm->flush();
  world.run_loop();
  REQUIRE(world.log.frames.size() == 4);
  CHECK(world.log.frames[1].size() == 14 + 28 + 1000);
  CHECK(world.log.frames[3].size() == 14 + 28 + 500);
  CHECK(world.port->held_buffers() == 0);
}

TEST_CASE("frames of every size cross whole and in order, both ways") {
  World world(GENERATE(RingOptions{}, RingOptions{.wake = WakeKind::pipe}));
  std::vector<std::string> sent;
  for (std::size_t size : {14ul, 60ul, 1514ul, 2048ul, 2049ul, 9014ul, kMaxFrame}) {
    sent.push_back(std::string(size, static_cast<char>('a' + sent.size())));
    CHECK(world.from_guest(sent.back()) == StatusCode::ok);
    CHECK(world.port->send(rx_frame(sent.back()), FrameClass::data) == SendResult::sent);
  }
  world.vmm->flush();
  world.port->flush();
  world.run_loop();
  CHECK(world.log.frames == sent);
  CHECK(world.to_guest() == sent);
  CHECK(world.port->counters().tx_frames == sent.size());
  CHECK(world.vmm->counters().rx_frames == sent.size());
}

TEST_CASE("a frame in pieces arrives as one") {
  World world;
  std::string a(14, 'h'), b = "payload", c = " and more";
  iovec pieces[] = {piece_of(a), {}, piece_of(b), piece_of(c)};
  CHECK(world.vmm->send(pieces) == StatusCode::ok);
  world.vmm->flush();
  world.run_loop();
  CHECK(world.log.frames == std::vector<std::string>{a + b + c});

  RxFrame frame = rx_frame(a);
  frame.payload = std::span<const iovec>(pieces).subspan(1);
  frame.payload_size = b.size() + c.size();
  CHECK(world.port->send(frame, FrameClass::data) == SendResult::sent);
  CHECK(world.to_guest() == std::vector<std::string>{a + b + c});
}

TEST_CASE("frames no NIC could send are refused with the reason") {
  World world;
  CHECK(world.from_guest(std::string(13, 'x')) == StatusCode::invalid_argument);
  CHECK(world.from_guest(std::string(kMaxFrame + 1, 'x')) == StatusCode::invalid_argument);
  iovec absurd{nullptr, ~std::size_t{0}};
  CHECK(world.vmm->send({&absurd, 1}) == StatusCode::invalid_argument);
  CHECK(world.vmm->send({}) == StatusCode::invalid_argument);
  CHECK_FALSE(RingPort::make(world.loop, {.tx_frames = 15}));
  CHECK_FALSE(RingPort::make(world.loop, {.rx_frames = 65537}));
}

TEST_CASE("a ring takes what it holds, refuses the next, and wakes the VMM when there is room") {
  World world({.tx_frames = 64});
  for (std::uint32_t i = 0; i < 64; ++i) {
    REQUIRE(world.from_guest(numbered_frame(i, 100)) == StatusCode::ok);
  }
  CHECK(world.from_guest(numbered_frame(64, 100)) == StatusCode::would_block);
  CHECK_FALSE(readable(world.vmm->space_fd()));
  world.run_loop();
  CHECK(readable(world.vmm->space_fd()));
  world.vmm->clear_space_wake();
  CHECK_FALSE(readable(world.vmm->space_fd()));
  CHECK(world.from_guest(numbered_frame(64, 100)) == StatusCode::ok);
  world.vmm->flush();
  world.run_loop();
  REQUIRE(world.log.frames.size() == 65);
  for (std::uint32_t i = 0; i < 65; ++i) CHECK(world.log.frames[i] == numbered_frame(i, 100));
}

TEST_CASE("a refused port is told of room once the guest has taken frames") {
  World world({.rx_frames = 64});
  std::size_t taken = world.fill(FrameClass::data);
  CHECK(taken == 60);
  world.run_loop();
  CHECK(world.log.spaces == 0);
  CHECK(world.to_guest().size() == taken);
  world.run_loop();
  CHECK(world.log.spaces == 1);
  CHECK(world.fill(FrameClass::data) == taken);
  CHECK(world.port->counters().rx_refused == 2);
}

TEST_CASE("places that data leaves free are there for control frames") {
  World world({.rx_frames = 64});
  world.fill(FrameClass::data);
  CHECK(world.fill(FrameClass::control) == 4);
  auto got = world.to_guest();
  CHECK(got.size() == 64);
}

TEST_CASE("large control frames have room too when large data frames have taken theirs") {
  World world;
  std::size_t data = world.fill(FrameClass::data, 9000);
  CHECK(data == 240);
  CHECK(world.fill(FrameClass::control, 9000) == 16);
  // Small ones never wait for large buffers.
  CHECK(world.port->send(rx_frame(numbered_frame(0, 60)), FrameClass::data) == SendResult::sent);
}

TEST_CASE("a VMM that keeps looking makes no system call and causes none") {
  World world;
  for (std::uint32_t i = 0; i < 1000; ++i) {
    world.port->send(rx_frame(numbered_frame(i, 100)), FrameClass::data);
    world.port->flush();
    CHECK(world.vmm->peek().size() == 100);
    world.vmm->pop();
  }
  CHECK(world.port->counters().wakes == 0);
  CHECK(world.vmm->counters().wakes == 0);
  CHECK_FALSE(readable(world.vmm->frames_fd()));
}

TEST_CASE("a VMM that sleeps is woken once, at the end of the batch") {
  World world;
  REQUIRE(world.vmm->arm_receive());
  for (std::uint32_t i = 0; i < 10; ++i) {
    world.port->send(rx_frame(numbered_frame(i, 100)), FrameClass::data);
  }
  CHECK_FALSE(readable(world.vmm->frames_fd()));
  world.port->flush();
  world.port->flush();
  CHECK(readable(world.vmm->frames_fd()));
  CHECK(world.port->counters().wakes == 1);
  world.vmm->clear_frames_wake();
  CHECK(world.to_guest().size() == 10);
}

TEST_CASE("a VMM that wants to sleep while there is a frame is told so") {
  World world;
  world.port->send(rx_frame(numbered_frame(1, 100)), FrameClass::data);
  CHECK_FALSE(world.vmm->arm_receive());
}

TEST_CASE("the gateway is woken once while it sleeps, and not at all while it works") {
  World world;
  for (std::uint32_t i = 0; i < 10; ++i) {
    world.from_guest(numbered_frame(i, 100));
    world.vmm->flush();
  }
  CHECK(world.vmm->counters().wakes == 1);
  // While the loop is at work on a frame the guest sends the next, a hundred times.
  std::uint32_t more = 100;
  world.log.on_frame = [&](const std::string&) {
    if (more == 0) return;
    --more;
    world.from_guest(numbered_frame(more, 100));
    world.vmm->flush();
  };
  world.run_loop();
  CHECK(world.log.frames.size() == 110);
  CHECK(world.vmm->counters().wakes == 1);
}

TEST_CASE("frames sent before there is a handler are delivered to it, after the link") {
  World world;
  world.port->set_handler(nullptr);
  world.from_guest(numbered_frame(1, 100));
  world.vmm->flush();
  world.run_loop();
  CHECK(world.log.frames.empty());
  PortLog late;
  world.port->set_handler(&late);
  CHECK(late.frames.empty());
  world.run_loop();
  CHECK(late.frames.size() == 1);
  CHECK(late.links == std::vector<bool>{true});
}

TEST_CASE("a frame that is held keeps its buffer, and giving it back makes room") {
  World world({.tx_frames = 16});
  world.log.keep_references = true;
  std::uint32_t sent = 0;
  while (world.from_guest(numbered_frame(sent, 9000)) == StatusCode::ok) {
    ++sent;
    world.vmm->flush();
    world.run_loop();
  }
  CHECK(world.port->held_buffers() == sent);
  CHECK_FALSE(readable(world.vmm->space_fd()));
  world.log.references.clear();
  world.run_loop();
  CHECK(readable(world.vmm->space_fd()));
  CHECK(world.port->held_buffers() == 0);
  CHECK(world.from_guest(numbered_frame(sent, 9000)) == StatusCode::ok);
}

TEST_CASE("held frames stay valid when the port and the VMM's end are gone") {
  PortLog log;
  {
    World world;
    world.port->set_handler(&log);
    log.keep_references = true;
    world.from_guest(numbered_frame(5, 200));
    world.from_guest(numbered_frame(6, 3000));
    world.vmm->flush();
    world.run_loop();
  }
  CHECK(log.references.size() == 2);
  log.references.clear();
}

TEST_CASE("what the guest sent before its end went is delivered before the link goes down") {
  World world;
  for (std::uint32_t i = 0; i < 200; ++i) world.from_guest(numbered_frame(i, 100));
  world.fill(FrameClass::data);
  world.vmm.reset();
  world.run_loop();
  CHECK(world.log.frames.size() == 200);
  CHECK(world.log.links == std::vector<bool>{true, false});
  // Nobody waits for a guest that is gone: its frames are taken and counted as lost.
  CHECK(world.log.spaces == 1);
  auto lost = world.port->counters().rx_lost;
  CHECK(lost == 960);
  CHECK(world.port->send(rx_frame(numbered_frame(1, 100)), FrameClass::data) == SendResult::sent);
  CHECK(world.port->counters().rx_lost == lost + 1);
}

TEST_CASE("a VMM learns that the Network is gone, and may still take what it was sent") {
  World world;
  world.port->send(rx_frame(numbered_frame(1, 100)), FrameClass::data);
  world.port.reset();
  CHECK(world.vmm->closed());
  CHECK(readable(world.vmm->frames_fd()));
  CHECK(readable(world.vmm->space_fd()));
  CHECK(world.from_guest(numbered_frame(1, 100)) == StatusCode::closed);
  CHECK(world.to_guest().size() == 1);
}

TEST_CASE("a handler may destroy the port in its callback") {
  World world;
  for (std::uint32_t i = 0; i < 100; ++i) world.from_guest(numbered_frame(i, 100));
  world.vmm->flush();
  world.log.on_frame = [&](const std::string&) { world.port.reset(); };
  world.run_loop();
  CHECK(world.port == nullptr);
}

TEST_CASE("a frame with TCP offload reaches the guest in segments, all or none") {
  World world({.rx_frames = 64});
  test::TestFrame frame({.payload = 64'000, .segment_size = 1448});
  RxFrame view = frame.view();
  static int released;
  released = 0;
  view.release = [](void*) { ++released; };
  CHECK(world.port->send(view, FrameClass::data) == SendResult::sent);
  CHECK(released == 1);
  auto got = world.to_guest();
  std::size_t payload = 0;
  for (const auto& whole : got) {
    CHECK(test::checksums_are_right({whole.begin(), whole.end()}));
    payload += whole.size() - view.head.size();
  }
  CHECK(payload == 64'000);

  while (world.port->send(view, FrameClass::data) == SendResult::sent) {
  }
  int before = released;
  std::uint64_t sent = world.port->counters().rx_frames;
  CHECK(world.port->send(view, FrameClass::data) == SendResult::full);
  CHECK(world.port->counters().rx_frames == sent);
  CHECK(released == before);
  // It fits into an empty ring, whatever was refused before.
  world.to_guest();
  world.run_loop();
  CHECK(world.log.spaces == 1);
  CHECK(world.port->send(view, FrameClass::data) == SendResult::sent);
}

TEST_CASE("rings of the least size for an MTU cut no segment longer than it") {
  for (std::size_t mtu : {1280u, 1500u, 4000u, 9000u, 65520u}) {
    std::size_t places = link::RingPort::least_rx_frames(mtu);
    CAPTURE(mtu, places);
    CHECK(65535 / (places / 8) + 1 <= mtu - 60);
    CHECK(places <= 512);
    CHECK(places >= 16);
  }
}

TEST_CASE("a guest that asks for tiny segments can't block its ring with one frame") {
  World world(GENERATE(RingOptions{}, RingOptions{.rx_frames = 16}));
  test::TestFrame frame({.payload = 65'000, .segment_size = 1});
  CHECK(world.port->send(frame.view(), FrameClass::data) == SendResult::sent);
  CHECK(world.to_guest().size() > 1);
}

TEST_CASE("receive() copies a frame out, and says the size that it would have needed") {
  World world;
  std::string frame = numbered_frame(3, 500);
  world.port->send(rx_frame(frame), FrameClass::data);
  std::array<std::uint8_t, 600> buffer;
  CHECK(world.vmm->receive(std::span(buffer).first(100)) == 500);
  CHECK(world.vmm->receive(buffer) == 500);
  CHECK(std::string(buffer.begin(), buffer.begin() + 500) == frame);
  CHECK(world.vmm->receive(buffer) == 0);
}

TEST_CASE("several frames can be seen and dropped at once") {
  World world;
  for (std::uint32_t i = 0; i < 5; ++i) {
    world.port->send(rx_frame(numbered_frame(i, 100 + i)), FrameClass::data);
  }
  std::array<std::span<const std::uint8_t>, 8> frames;
  REQUIRE(world.vmm->peek(frames) == 5);
  CHECK(frames[4].size() == 104);
  world.vmm->pop(4);
  REQUIRE(world.vmm->peek(frames) == 1);
  CHECK(frames[0].size() == 104);
  world.vmm->pop(100);
  CHECK(world.vmm->peek().empty());
}
