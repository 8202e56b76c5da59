// A VMM stand-in: a TAP device is the guest's NIC, two threads carry its frames to and from the
// rings of a Network. A real VMM does the same with its virtio queues.
//
//   vmm-cpp TAP [--SETTING VALUE]...     settings: allow, deny, rule, profile, publish, dns

#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <net/network.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>

namespace {

/// A TAP drops what its queue, of 1000 frames unless told otherwise, has no room for.
constexpr int kTapQueue = 4096;

std::atomic<bool> stopping{false};
int stop_fd = -1;  // readable once we end: wakes both threads

/// Opens a TAP of the current network namespace and brings it up; -1 and a message on failure.
int open_tap(const char* name, int mtu) {
  int fd = ::open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  ifreq request{};
  std::snprintf(request.ifr_name, sizeof request.ifr_name, "%s", name);
  request.ifr_flags = IFF_TAP | IFF_NO_PI;
  if (fd < 0 || ::ioctl(fd, TUNSETIFF, &request) < 0) {
    std::fprintf(stderr, "vmm-cpp: tap %s: %s\n", name, std::strerror(errno));
    return -1;
  }
  int control = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  request.ifr_mtu = mtu;
  ::ioctl(control, SIOCSIFMTU, &request);
  request.ifr_qlen = kTapQueue;
  ::ioctl(control, SIOCSIFTXQLEN, &request);
  request.ifr_flags = IFF_UP;
  ::ioctl(control, SIOCSIFFLAGS, &request);
  ::close(control);
  return fd;
}

/// Waits until `fd` is readable (or `events`); false when we end.
bool wait_for(int fd, short events = POLLIN) {
  std::array<pollfd, 2> fds{{{fd, events, 0}, {stop_fd, POLLIN, 0}}};
  while (::poll(fds.data(), fds.size(), -1) < 0 && errno == EINTR) {
  }
  return !stopping && fds[1].revents == 0;
}

/// Guest to network: what a VMM's transmit queue handler does.
void transmit(int tap, sluice::RingLink& ring) {
  std::array<std::uint8_t, 65550> frame;
  while (!stopping) {
    ssize_t size = ::read(tap, frame.data(), frame.size());
    if (size < 0) {
      if (errno != EAGAIN) return;
      ring.flush();
      if (!wait_for(tap)) return;
      continue;
    }
    iovec piece{frame.data(), static_cast<std::size_t>(size)};
    sluice::StatusCode status;
    while ((status = ring.send({&piece, 1})) == sluice::StatusCode::would_block) {
      if (!wait_for(ring.space_fd())) return;
      ring.clear_space_wake();
    }
    if (status == sluice::StatusCode::closed) return;
  }
}

/// Network to guest: what a VMM's receive queue handler does.
void receive(int tap, sluice::RingLink& ring) {
  while (!stopping && !ring.closed()) {
    auto frame = ring.peek();
    if (frame.empty()) {
      if (!ring.arm_receive()) continue;
      if (!wait_for(ring.frames_fd())) return;
      ring.clear_frames_wake();
      continue;
    }
    if (::write(tap, frame.data(), frame.size()) < 0 && errno == EAGAIN) {
      // The guest is slow: the frame stays in the ring, and the network holds its senders back.
      if (!wait_for(tap, POLLOUT)) return;
      continue;
    }
    ring.pop();
  }
}

/// `--allow example.com` and the like into the configuration.
bool apply(sluice::NetworkConfig& config, const std::string& flag, const std::string& value) {
  using sluice::Action;
  if (flag == "--allow" || flag == "--deny") {
    config.policy.rules.push_back({.text = value,
                                   .where = flag,
                                   .shorthand = flag == "--allow" ? Action::allow : Action::deny});
  } else if (flag == "--rule") {
    config.policy.rules.push_back({.text = value, .where = flag, .shorthand = {}});
  } else if (flag == "--profile") {
    config.policy.profile = value;
  } else if (flag == "--publish") {
    auto spec = sluice::parse_publish(value);
    if (!spec) return std::fprintf(stderr, "%s\n", spec.status().message().c_str()), false;
    config.publish.push_back(*spec);
  } else if (flag == "--dns") {
    auto server = sluice::Endpoint::parse(value);
    if (!server) return std::fprintf(stderr, "%s\n", server.status().message().c_str()), false;
    config.dns_upstreams.push_back(*server);
  } else {
    std::fprintf(stderr, "vmm-cpp: unknown setting %s\n", flag.c_str());
    return false;
  }
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2 || argc % 2 != 0) {
    std::fprintf(stderr,
                 "usage: vmm-cpp TAP [--allow|--deny|--rule|--profile|--publish|--dns VALUE]..."
                 " [--ring FRAMES]\n");
    return 2;
  }
  sluice::NetworkConfig config;
  config.mtu = 1500;
  sluice::RingOptions rings;
  for (int i = 2; i < argc; i += 2) {
    if (argv[i] == std::string("--ring")) {
      rings.tx_frames = rings.rx_frames = std::strtoul(argv[i + 1], nullptr, 10);
    } else if (!apply(config, argv[i], argv[i + 1])) {
      return 2;
    }
  }
  config.on_denied = [](const sluice::DenialEvent& event) {
    std::fprintf(stderr, "%s\n", event.to_string().c_str());
  };

  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);

  auto network = sluice::Network::create(config);
  if (!network) return std::fprintf(stderr, "%s\n", network.status().message().c_str()), 1;
  auto ring = (*network)->attach_ring(rings);
  if (!ring) return std::fprintf(stderr, "%s\n", ring.status().message().c_str()), 1;
  int tap = open_tap(argv[1], config.mtu);
  stop_fd = ::eventfd(0, EFD_CLOEXEC);
  if (tap < 0 || stop_fd < 0) return 1;

  std::thread tx([&] { transmit(tap, **ring); });
  std::thread rx([&] { receive(tap, **ring); });
  std::printf("ready\n");
  std::fflush(stdout);
  int signal = 0;
  ::sigwait(&signals, &signal);
  stopping = true;
  ::eventfd_write(stop_fd, 1);
  tx.join();
  rx.join();

  sluice::NetworkCounters counters = (*network)->counters();
  std::printf("sent %lu frames, received %lu, %lu connections, %lu refusals\n",
              static_cast<unsigned long>(counters.tx_frames),
              static_cast<unsigned long>(counters.rx_frames),
              static_cast<unsigned long>(counters.tcp_opened),
              static_cast<unsigned long>(counters.denials));
  ::close(tap);
  ::close(stop_fd);
  return 0;
}
