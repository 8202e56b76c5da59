// ringbridge: a VMM that links libnet.a, for the benchmark. The kernel behind a TAP is its guest;
// two threads carry that guest's frames to and from the rings of a Network.
//
//   ringbridge TAP@NETNS [--SETTING VALUE]...     settings as in net/sluice.h
//
// The TAP is opened in the namespace at the path NETNS, and the Network's sockets in our own. The
// virtio_net_hdr goes through as it is, so nobody here looks into a frame.

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/network.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "core/setting.h"
#include "tap.h"

namespace {

/// Of the guest's kernel, between two looks at whether the Network sleeps.
constexpr int kReadsPerFlush = 16;

[[noreturn]] void fail(const std::string& why) {
  std::fprintf(stderr, "ringbridge: %s\n", why.c_str());
  std::exit(1);
}

int open_tap(const std::string& where, int mtu) {
  std::size_t at = where.find('@');
  if (at == std::string::npos) fail("TAP@NETNS is needed, not " + where);
  int netns = ::open(where.c_str() + at + 1, O_RDONLY | O_CLOEXEC);
  tap_options options{.mtu = mtu,
                      .mac = nullptr,
                      .queue = 4096,
                      .header = sluice::kVirtioHeaderSize,
                      .offloads = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6,
                      .flags = 0};
  int tap = -1;
  std::thread([&] {
    if (::setns(netns, CLONE_NEWNET) != 0) fail("can't enter " + where.substr(at + 1));
    tap = tap_open(where.substr(0, at).c_str(), &options);
  }).join();
  ::close(netns);
  return tap;
}

void wait_readable(int fd) {
  pollfd one{fd, POLLIN, 0};
  while (::poll(&one, 1, -1) < 0 && errno == EINTR) {
  }
}

void send(sluice::RingLink& ring, const iovec& frame) {
  while (ring.send({&frame, 1}) == sluice::StatusCode::would_block) {
    wait_readable(ring.space_fd());
    ring.clear_space_wake();
  }
}

void transmit(int tap, sluice::RingLink& ring) {
  std::vector<std::uint8_t> memory(128 * 1024);
  iovec whole{memory.data(), memory.size()};
  int reads = 0;
  while (!ring.closed()) {
    ssize_t size = reads < kReadsPerFlush ? ::preadv2(tap, &whole, 1, -1, RWF_NOWAIT) : -1;
    if (size < 0 && (reads == kReadsPerFlush || errno == EAGAIN)) {
      ring.flush();
      reads = 0;
      size = ::read(tap, memory.data(), memory.size());
    }
    if (size < 0 && errno != EINTR) fail("the TAP can't be read");
    ++reads;
    if (size > 0) send(ring, {memory.data(), static_cast<std::size_t>(size)});
  }
}

void receive(int tap, sluice::RingLink& ring) {
  std::array<std::span<const std::uint8_t>, 64> frames;
  while (!ring.closed()) {
    std::size_t count = ring.peek(frames);
    for (std::size_t i = 0; i < count; ++i) {
      // The TAP may be full or down: then the frame is lost, as on a cable.
      static_cast<void>(!::write(tap, frames[i].data(), frames[i].size()));
    }
    ring.pop(count);
    if (count > 0 || !ring.arm_receive()) continue;
    wait_readable(ring.frames_fd());
    ring.clear_frames_wake();
  }
}

/// The harness tells our threads from the Network's by this name.
template <typename Function>
void start_bridge(Function function) {
  std::thread thread(function);
  ::pthread_setname_np(thread.native_handle(), "bridge");
  thread.detach();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2 || argc % 2 != 0) fail("usage: ringbridge TAP@NETNS [--SETTING VALUE]...");
  sluice::NetworkConfig config;
  config.dns_limits.queries_per_second = config.dns_limits.names_per_zone = 0;
  for (int i = 2; i < argc; i += 2) {
    sluice::Status status = sluice::core::apply_setting(config, argv[i] + 2, argv[i + 1]);
    if (!status) fail(std::string(argv[i]) + ": " + status.message());
  }
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);

  auto network = sluice::Network::create(config);
  if (!network) fail(network.status().message());
  auto ring = (*network)->attach_ring({.virtio_header = true});
  if (!ring) fail(ring.status().message());
  (*ring)->set_guest_offloads({.checksum = true, .tcp4 = true, .tcp6 = true});
  int tap = open_tap(argv[1], config.mtu);
  start_bridge([&] { transmit(tap, **ring); });
  start_bridge([&] { receive(tap, **ring); });
  int signal = 0;
  ::sigwait(&signals, &signal);
  ::_exit(0);
}
