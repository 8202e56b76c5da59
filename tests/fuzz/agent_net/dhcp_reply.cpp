// The DHCP client and whatever a server may answer: the message as it is, and as the answer to each
// message that the client sends. What it takes for a lease must be one that a kernel can be given.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "agent/net/dhcp_client.h"
#include "agent/net/dhcp_socket.h"
#include "agent/net/interface_setup.h"
#include "check.h"
#include "support/virtual_loop.h"
#include "wire/dhcp.h"
#include "wire/dhcp_lease.h"

namespace {

using namespace sluice;
using wire::DhcpLease;

const MacAddress kMac({2, 0, 0, 0, 0, 9});
constexpr int kMostMessages = 24;
// Leases go up to 136 years, and the clock to 292.
constexpr std::chrono::hours kEnd{24 * 365};

void check_lease(const DhcpLease& lease) {
  FUZZ_CHECK(!lease.address.is_unspecified() && !lease.address.is_multicast());
  FUZZ_CHECK(!lease.address.is_loopback() && !lease.address.is_limited_broadcast());
  FUZZ_CHECK(lease.prefix_length >= 1 && lease.prefix_length <= 32);
  FUZZ_CHECK(lease.routers.size() <= DhcpLease::kMaxRouters);
  FUZZ_CHECK(lease.dns_servers.size() <= DhcpLease::kMaxDnsServers);
  FUZZ_CHECK(lease.routes.size() <= DhcpLease::kMaxRoutes);
  FUZZ_CHECK(lease.mtu == 0 || lease.mtu >= DhcpLease::kMinMtu);
  FUZZ_CHECK(lease.duration >= DhcpLease::kMinDuration);
  if (lease.is_forever()) return;
  FUZZ_CHECK(lease.renew_after >= DhcpLease::kMinRenewal);
  FUZZ_CHECK(lease.renew_after < lease.rebind_after && lease.rebind_after < lease.duration);
}

/// Answers each message of the client with the same bytes, under its transaction.
class Echo final : public agent::DhcpLink, public agent::DhcpClientEvents {
 public:
  Echo(test::VirtualLoop& loop, ConstBytes bytes)
      : loop_(loop), answer_(bytes.begin(), bytes.end()) {}

  void set_receiver(Receiver receiver) override { receiver_ = std::move(receiver); }
  Status broadcast(const IpAddress&, ConstBytes message) override { return take(message); }
  Status send(const IpAddress&, const IpAddress&, ConstBytes message) override {
    return take(message);
  }
  void on_dhcp_bound(const DhcpLease& lease) override {
    check_lease(lease);
    agent::Link link{.index = 1, .mtu = 1500, .max_mtu = 65535};
    agent::InterfaceSetup setup;
    agent::add_lease(lease, link, lease.duration, setup);
    FUZZ_CHECK(setup.addresses.size() == 1);
    FUZZ_CHECK(setup.routes.size() <= DhcpLease::kMaxRoutes + 1);
  }
  void on_dhcp_lost(const DhcpLease& lease) override { check_lease(lease); }

  int messages() const { return messages_; }

 private:
  Status take(ConstBytes message) {
    auto view = wire::DhcpView::parse(message);
    FUZZ_CHECK(view && view->is_request() && view->client_mac() == kMac);
    FUZZ_CHECK(message.size() <= wire::kDhcpMaxReply);
    ++messages_;
    if (answer_.size() >= 34) {
      std::copy_n(message.begin() + 4, 4, answer_.begin() + 4);
      std::ranges::copy(kMac.bytes(), answer_.begin() + 28);
    }
    loop_.defer([this] {
      if (receiver_) receiver_(answer_);
    });
    return Status::ok();
  }

  test::VirtualLoop& loop_;
  std::vector<std::uint8_t> answer_;
  Receiver receiver_;
  int messages_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  agent::dhcp_message_in({data, size}, true);
  if (auto view = wire::DhcpView::parse({data, size})) {
    if (auto lease = DhcpLease::read(*view)) check_lease(*lease);
  }

  test::VirtualLoop loop;
  Echo echo(loop, {data, size});
  std::uint64_t random = 1;
  agent::DhcpClient client(loop, echo, {.mac = kMac, .random = [&] { return random += 7919; }},
                           echo);
  client.start();
  TimePoint began = loop.now();
  for (int turn = 0; turn < kMostMessages && echo.messages() < kMostMessages; ++turn) {
    if (loop.now() - began > kEnd || !loop.advance_to_next_timer()) break;
  }
  // Whatever is answered, the client takes its time.
  FUZZ_CHECK(echo.messages() < kMostMessages || loop.now() - began > std::chrono::seconds(3));
  client.revalidate();
  loop.run_ready();
  client.stop();
  return 0;
}
