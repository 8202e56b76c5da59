#include "hostd/attach/tap_port.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <functional>
#include <thread>

#include "hostd/port_kit.h"

namespace sluice::test {

using hostd::TapPort;
using link::FrameClass;
using link::SendResult;

namespace {

/// A network namespace of its own, kept by a descriptor.
class Namespace {
 public:
  Namespace() {
    std::thread([this] {
      if (::unshare(CLONE_NEWNET) == 0) fd_.reset(::open("/proc/thread-self/ns/net", O_RDONLY));
    }).join();
  }
  bool exists() const { return static_cast<bool>(fd_); }
  std::string path() const {
    return "/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(fd_.get());
  }
  void run(const std::function<void()>& task) const {
    std::thread([&] {
      if (::setns(fd_.get(), CLONE_NEWNET) == 0) task();
    }).join();
  }

 private:
  UniqueFd fd_;
};

bool can_make_taps() {
  bool can = ::geteuid() == 0 && ::access("/dev/net/tun", R_OK | W_OK) == 0;
  if (!can) WARN("not root or no /dev/net/tun: taps are not tested");
  return can;
}

/// The guest's side: a packet socket on `name`.
UniqueFd packet_socket(const Namespace& space, const std::string& name) {
  UniqueFd fd;
  space.run([&] {
    fd.reset(::socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, htons(0x88b5)));
    sockaddr_ll address{};
    address.sll_family = AF_PACKET;
    address.sll_protocol = htons(0x88b5);
    address.sll_ifindex = static_cast<int>(::if_nametoindex(name.c_str()));
    if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) fd.reset();
  });
  return fd;
}

}  // namespace

TEST_CASE("a tap is made in a network namespace, up, with the MTU asked for") {
  if (!can_make_taps()) return;
  Namespace space;
  REQUIRE(space.exists());
  auto tap = hostd::open_tap("tap0", space.path(), 9000);
  INFO(tap.status().message());
  REQUIRE(tap);
  ifreq request{};
  short flags = 0;
  space.run([&] {
    UniqueFd control(::socket(AF_INET, SOCK_DGRAM, 0));
    std::string("tap0").copy(request.ifr_name, IFNAMSIZ - 1);
    ::ioctl(control.get(), SIOCGIFFLAGS, &request);
    flags = request.ifr_flags;
    ::ioctl(control.get(), SIOCGIFMTU, &request);
  });
  CHECK((flags & IFF_UP) != 0);
  CHECK(request.ifr_mtu == 9000);
  CHECK(::if_nametoindex("tap0") == 0);
  auto again = hostd::adopt_tap(std::move(tap->fd));
  REQUIRE(again);
  CHECK(again->has_header);
  CHECK(again->offloads.tcp4);
}

TEST_CASE("frames go through a tap both ways") {
  if (!can_make_taps()) return;
  Namespace space;
  auto tap = hostd::open_tap("tap0", space.path(), 65520);
  REQUIRE(tap);
  UniqueFd nic = packet_socket(space, "tap0");
  REQUIRE(nic);
  VirtualLoop loop;
  Recorder guest;
  TapPort port(loop, std::move(*tap));
  port.set_handler(&guest);
  CHECK(guest.links == std::vector<bool>{true});

  std::vector<std::string> sent;
  for (std::size_t size : {46u, 1500u, 65520u}) {
    sent.push_back("destinsource\x88\xb5" + std::string(size, 'g'));
  }
  for (const std::string& frame : sent) {
    REQUIRE(::send(nic.get(), frame.data(), frame.size(), 0) >= 0);
  }
  auto ours = [&] {
    // The kernel sends some of its own, such as router solicitations.
    return std::count_if(guest.frames.begin(), guest.frames.end(),
                         [](const std::string& frame) { return frame.rfind("destin", 0) == 0; });
  };
  REQUIRE(run_until(loop, [&] { return ours() == 3; }));
  for (const std::string& frame : sent) {
    CHECK(std::count(guest.frames.begin(), guest.frames.end(), frame) == 1);
  }

  CountedFrame answer(65000);
  CHECK(port.send(answer.view(), FrameClass::data) == SendResult::sent);
  port.flush();
  CHECK(answer.releases == 1);
  std::string got(1 << 17, '\0');
  ssize_t n = 0;
  REQUIRE(run_until(loop, [&] {
    n = ::recv(nic.get(), got.data(), got.size(), 0);
    return n > 0 && got.rfind("destin", 0) == 0 && static_cast<std::size_t>(n) > 60000;
  }));
  CHECK(got.substr(0, static_cast<std::size_t>(n)) == answer.bytes());
}

TEST_CASE("a tap that is taken, or a name that is no tap's, is refused with its name") {
  if (!can_make_taps()) return;
  Namespace space;
  auto first = hostd::open_tap("tap0", space.path(), 1500);
  REQUIRE(first);
  auto taken = hostd::open_tap("tap0", space.path(), 1500);
  REQUIRE_FALSE(taken);
  CHECK(taken.status().code() == StatusCode::already_exists);
  CHECK(taken.status().message().rfind("--tap tap0@", 0) == 0);
  auto loopback = hostd::open_tap("lo", space.path(), 1500);
  REQUIRE_FALSE(loopback);
  CHECK(loopback.status().code() == StatusCode::already_exists);
}

TEST_CASE("a network namespace that is none is named in the error") {
  auto [netns, code] = GENERATE(std::pair{std::string("no-such-netns"), StatusCode::not_found},
                                std::pair{std::string("/no/such/path"), StatusCode::not_found},
                                std::pair{std::string("4194305"), StatusCode::not_found},
                                std::pair{std::string("/dev/null"), StatusCode::invalid_argument});
  auto tap = hostd::open_tap("tap0", netns, 1500);
  REQUIRE_FALSE(tap);
  CHECK(tap.status().code() == code);
  CHECK(tap.status().message().rfind("--tap tap0@" + netns, 0) == 0);
}

TEST_CASE("a tap that is removed under the port ends it once") {
  if (!can_make_taps()) return;
  VirtualLoop loop;
  Recorder guest;
  int closes = 0;
  Namespace space;
  auto tap = hostd::open_tap("tap0", space.path(), 1500);
  REQUIRE(tap);
  TapPort port(loop, std::move(*tap));
  port.set_on_closed([&] { ++closes; });
  port.set_handler(&guest);
  int status = -1;
  // NOLINTNEXTLINE(cert-env33-c,bugprone-command-processor): a fixed command
  space.run([&] { status = std::system("ip link delete tap0"); });
  REQUIRE(status == 0);
  REQUIRE(run_until(loop, [&] { return closes == 1; }));
  CHECK(guest.links == std::vector<bool>{true, false});
}

TEST_CASE("only a descriptor of /dev/net/tun is taken for a tap") {
  auto [socket, other] = socket_pair(SOCK_STREAM);
  CHECK_FALSE(hostd::is_tun(socket.get()));
  UniqueFd null(::open("/dev/null", O_RDWR));
  CHECK_FALSE(hostd::is_tun(null.get()));
  if (!can_make_taps()) return;
  UniqueFd bare(::open("/dev/net/tun", O_RDWR));
  CHECK(hostd::is_tun(bare.get()));
  CHECK_FALSE(hostd::adopt_tap(std::move(bare)));
}

}  // namespace sluice::test
