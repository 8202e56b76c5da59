#include "base/host_routes.h"

#include <sched.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <string>
#include <thread>

#include "base/uv_loop.h"

using namespace sluice;
using namespace std::chrono_literals;

namespace {

bool run(const std::string& command) {
  return std::system(command.c_str()) == 0;
}

/// A pair of interfaces, both up, so that routes over them count.
const std::string kMakeLink =
    "ip link add net0 type veth peer name net1 && ip link set net0 up && ip link set net1 up && ";

/// Runs `test` on a thread in a network namespace of its own; false where that is not permitted.
template <typename Test>
bool in_namespace(Test test) {
  bool entered = false;
  std::thread thread([&] {
    entered = ::unshare(CLONE_NEWNET) == 0;
    if (entered) test();
  });
  thread.join();
  if (!entered) WARN("skipped: making a network namespace is not permitted");
  return entered;
}

/// Runs the loop until `done` or for five seconds.
template <typename Done>
bool run_until(UvLoop& loop, Done done) {
  TimePoint deadline = loop.now() + 5s;
  std::unique_ptr<Timer> poll;
  poll = loop.make_timer([&] {
    if (done() || loop.now() > deadline) return loop.stop();
    poll->start(5ms);
  });
  poll->start(1ms);
  loop.run();
  return done();
}

bool has(const HostRoutesSnapshot& snapshot, const char* address) {
  return std::ranges::count(snapshot.addresses, *IpAddress::parse(address)) == 1;
}

bool on_link(const HostRoutesSnapshot& snapshot, const char* prefix) {
  return std::ranges::count(snapshot.on_link, *IpPrefix::parse(prefix)) == 1;
}

}  // namespace

TEST_CASE("default routes and addresses of the host are followed as they come and go") {
  struct Seen {
    HostRoutesSnapshot first, up;
    int changes = 0;
    bool opened = false, configured = false, removed = false, came = false, went = false;
  } seen;
  bool ran = in_namespace([&] {
    auto loop = std::move(*UvLoop::create());
    auto routes = HostRoutes::open(*loop, [&](const HostRoutesSnapshot&) { ++seen.changes; });
    if (!(seen.opened = routes.is_ok())) return;
    auto& now = (*routes)->snapshot();
    seen.first = now;
    seen.configured = run(
        kMakeLink +
        "ip link set lo up && "
        "ip addr add 203.0.113.5/24 dev net0 && ip -6 addr add 2001:db8:1::5/64 dev net0 nodad && "
        "ip addr add 10.1.1.1 peer 10.1.1.2/32 dev net0 && "
        "ip route add default via 203.0.113.1 && ip -6 route add default via 2001:db8:1::1");
    seen.came = run_until(
        *loop, [&] { return now.ipv4_default && now.ipv6_default && has(now, "2001:db8:1::5"); });
    seen.up = now;
    seen.removed = run(
        "ip -6 route del default && ip route del default && ip addr del 203.0.113.5/24 dev net0");
    seen.went = run_until(
        *loop, [&] { return !now.ipv4_default && !now.ipv6_default && !has(now, "203.0.113.5"); });
  });
  if (!ran) return;
  REQUIRE(seen.opened);
  REQUIRE(seen.configured);
  CHECK_FALSE(seen.first.ipv4_default);
  CHECK_FALSE(seen.first.ipv6_default);
  CHECK(seen.came);
  CHECK(has(seen.up, "203.0.113.5"));
  CHECK(has(seen.up, "127.0.0.1"));
  CHECK(has(seen.up, "10.1.1.1"));
  CHECK_FALSE(has(seen.up, "10.1.1.2"));
  CHECK(on_link(seen.up, "203.0.113.0/24"));
  CHECK(on_link(seen.up, "2001:db8:1::/64"));
  CHECK(on_link(seen.up, "10.1.1.2/32"));
  REQUIRE(seen.removed);
  CHECK(seen.went);
  CHECK(seen.changes >= 2);
}

TEST_CASE("a default route in halves counts, one that refuses does not") {
  HostRoutesSnapshot halves, refusing;
  bool ran = in_namespace([&] {
    auto loop = std::move(*UvLoop::create());
    run(kMakeLink +
        "ip addr add 10.0.0.5/24 dev net0 && "
        "ip route add 0.0.0.0/1 dev net0 && ip route add 128.0.0.0/1 dev net0");
    if (auto routes = HostRoutes::open(*loop, nullptr)) halves = (*routes)->snapshot();
    run("ip route del 0.0.0.0/1 && ip route del 128.0.0.0/1 && "
        "ip route add unreachable default && ip -6 route add blackhole default");
    if (auto routes = HostRoutes::open(*loop, nullptr)) refusing = (*routes)->snapshot();
  });
  if (!ran) return;
  CHECK(halves.ipv4_default);
  CHECK_FALSE(halves.ipv6_default);
  CHECK_FALSE(refusing.ipv4_default);
  CHECK_FALSE(refusing.ipv6_default);
}

TEST_CASE("a storm of changes that overruns the socket still ends in the right picture") {
  bool opened = false, settled = false;
  std::size_t addresses = 0;
  bool ran = in_namespace([&] {
    auto loop = std::move(*UvLoop::create());
    auto routes = HostRoutes::open(*loop, nullptr);
    if (!(opened = routes.is_ok())) return;
    // Thousands of notifications, none of them read meanwhile.
    run(kMakeLink +
        "for i in $(seq 0 9); do for j in $(seq 1 100); do "
        "echo addr add 10.$i.$j.1/24 dev net0; echo route add 172.16.$i.$j dev net0; "
        "done; done | ip -batch -");
    auto& now = (*routes)->snapshot();
    settled = run_until(*loop, [&] { return now.addresses.size() >= 1000; });
    addresses = now.addresses.size();
  });
  if (!ran) return;
  CHECK(opened);
  CHECK(settled);
  CHECK(addresses >= 1000);
}
