#include <poll.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <cstring>
#include <ctime>
#include <functional>
#include <thread>

#include "base/uv_loop.h"
#include "link/port_log.h"
#include "link/ring_port.h"

using namespace sluice;
using namespace sluice::link;
using namespace std::chrono_literals;
using test::numbered_frame;
using test::piece_of;
using test::PortLog;
using test::rx_frame;

namespace {

constexpr int kLostMs = 10'000;

bool wait_readable(int fd, int timeout_ms = kLostMs) {
  pollfd item{.fd = fd, .events = POLLIN, .revents = 0};
  return ::poll(&item, 1, timeout_ms) == 1;
}

double cpu_seconds() {
  return static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
}

std::size_t size_of(std::uint32_t number) {
  return number % 50 == 0 ? 9000 : 60 + number % 1400;
}

bool is_frame(std::span<const std::uint8_t> frame, std::uint32_t number) {
  if (frame.size() != size_of(number)) return false;
  std::uint32_t found;
  std::memcpy(&found, frame.data() + 14, sizeof found);
  return found == number && frame.back() == static_cast<std::uint8_t>(number * 7 + frame.size());
}

/// A loop on a thread of its own with a port that sends `count` frames to the guest as room allows
/// and checks those that come from it.
class Gateway {
 public:
  Gateway(RingOptions options, std::uint32_t count) : count_(count) {
    loop_ = std::move(UvLoop::create().value());
    auto pair = std::move(RingPort::make(*loop_, options).value());
    port_ = std::move(pair.port);
    vmm = std::move(pair.link);
    log_.on_frame = [this](const std::string& frame) {
      auto* data = reinterpret_cast<const std::uint8_t*>(frame.data());
      wrong += !is_frame({data, frame.size()}, received);
      ++received;
      log_.frames.clear();
    };
    log_.on_space = [this] { send_more(); };
    port_->set_handler(&log_);
    loop_->post([this] { send_more(); });
    thread_ = std::thread([this] { loop_->run(); });
  }
  ~Gateway() { stop(); }
  void stop() {
    if (!thread_.joinable()) return;
    loop_->stop();
    thread_.join();
  }
  const RingPort& port() const { return *port_; }

  std::unique_ptr<RingLink> vmm;
  std::atomic<std::uint32_t> received{0};
  std::atomic<std::uint32_t> wrong{0};

 private:
  void send_more() {
    while (next_ < count_) {
      std::string frame = numbered_frame(next_, size_of(next_));
      if (port_->send(rx_frame(frame), FrameClass::data) == SendResult::full) break;
      ++next_;
    }
    port_->flush();
  }

  std::uint32_t count_;
  std::uint32_t next_ = 0;
  std::unique_ptr<UvLoop> loop_;
  PortLog log_;
  std::unique_ptr<RingPort> port_;
  std::thread thread_;
};

/// The VMM's tx thread, as the manual says. False if a wake was lost.
bool send_all(RingLink& vmm, std::uint32_t count) {
  for (std::uint32_t i = 0; i < count; ++i) {
    std::string frame = numbered_frame(i, size_of(i));
    iovec piece = piece_of(frame);
    while (vmm.send({&piece, 1}) == StatusCode::would_block) {
      if (!wait_readable(vmm.space_fd())) return false;
      vmm.clear_space_wake();
    }
    if (i % 8 == 7) vmm.flush();
  }
  vmm.flush();
  return true;
}

/// The VMM's rx thread. False if a wake was lost.
bool receive_all(RingLink& vmm, std::uint32_t count, std::uint32_t& wrong) {
  for (std::uint32_t i = 0; i < count;) {
    auto frame = vmm.peek();
    if (!frame.empty()) {
      wrong += !is_frame(frame, i++);
      vmm.pop();
      continue;
    }
    if (!vmm.arm_receive()) continue;
    if (!wait_readable(vmm.frames_fd())) return false;
    vmm.clear_frames_wake();
  }
  return true;
}

bool eventually(const std::function<bool()>& done) {
  auto deadline = std::chrono::steady_clock::now() + 10s;
  while (!done()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(1ms);
  }
  return true;
}

}  // namespace

TEST_CASE("full rings both ways, on three threads, lose and reorder nothing") {
  // Small rings are full most of the time, large ones empty.
  auto options = GENERATE(RingOptions{.tx_frames = 16, .rx_frames = 16}, RingOptions{},
                          RingOptions{.tx_frames = 16, .rx_frames = 16, .wake = WakeKind::pipe});
  constexpr std::uint32_t kFrames = 20'000;
  Gateway gateway(options, kFrames);
  std::atomic<bool> sent{false};
  std::thread tx([&] { sent = send_all(*gateway.vmm, kFrames); });
  std::uint32_t wrong = 0;
  bool received = receive_all(*gateway.vmm, kFrames, wrong);
  tx.join();
  CHECK(sent);
  CHECK(received);
  CHECK(wrong == 0);
  CHECK(eventually([&] { return gateway.received == kFrames; }));
  CHECK(gateway.wrong == 0);
  gateway.stop();
  CHECK(gateway.port().held_buffers() == 0);
  CHECK(gateway.port().counters().rx_lost == 0);
}

TEST_CASE("a paused guest makes nobody spin, and goes on where it stopped") {
  constexpr std::uint32_t kFrames = 5000;
  Gateway gateway({.tx_frames = 64, .rx_frames = 64}, kFrames);
  std::uint32_t wrong = 0;
  REQUIRE(receive_all(*gateway.vmm, 1000, wrong));
  // Full by now or soon: then the gateway sleeps until the guest takes frames.
  std::this_thread::sleep_for(20ms);
  double before = cpu_seconds();
  std::this_thread::sleep_for(300ms);
  CHECK(cpu_seconds() - before < 0.06);
  std::uint32_t taken = 1000;
  while (taken < kFrames) {
    auto frame = gateway.vmm->peek();
    if (frame.empty()) {
      if (!gateway.vmm->arm_receive()) continue;
      REQUIRE(wait_readable(gateway.vmm->frames_fd()));
      gateway.vmm->clear_frames_wake();
      continue;
    }
    wrong += !is_frame(frame, taken++);
    gateway.vmm->pop();
  }
  CHECK(wrong == 0);
}

TEST_CASE("frames in bursts cost far fewer wakes than frames") {
  constexpr std::uint32_t kFrames = 30'000;
  Gateway gateway({}, kFrames);
  std::atomic<bool> sent{false};
  std::thread tx([&] { sent = send_all(*gateway.vmm, kFrames); });
  std::uint32_t wrong = 0;
  CHECK(receive_all(*gateway.vmm, kFrames, wrong));
  tx.join();
  REQUIRE(eventually([&] { return gateway.received == kFrames; }));
  gateway.stop();
  CHECK(wrong == 0);
  CHECK(gateway.port().counters().wakes + gateway.vmm->counters().wakes < kFrames / 4);
}
