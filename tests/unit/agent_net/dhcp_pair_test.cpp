// Our client and our own server (libnet's gateway), as in a VM beside hostd.

#include <catch2/catch.hpp>

#include "dhcp_world.h"
#include "gateway/dhcp_server.h"

using namespace sluice;
using namespace sluice::test;
using State = DhcpClient::State;

namespace {

gateway::Config gateway_config() {
  gateway::Config config;
  config.mtu = 65520;
  config.domain = *DomainName::parse("vm.internal");
  config.search = {*DomainName::parse("a.example"), *DomainName::parse("vm.internal")};
  return config;
}

/// A client whose messages the gateway's server answers, each after the turn in which it came.
struct Pair final : agent::DhcpLink, agent::DhcpClientEvents {
  Pair() { client.start(); }

  void set_receiver(Receiver taken) override { receiver = std::move(taken); }
  Status broadcast(const IpAddress&, ConstBytes message) override { return take(message); }
  Status send(const IpAddress&, const IpAddress&, ConstBytes message) override {
    return take(message);
  }
  Status take(ConstBytes message) {
    ++messages;
    auto reply = server.answer(message, kClientMac, loop.now());
    if (reply && !is_cut) loop.defer([this, reply] { receiver(reply->payload); });
    return Status::ok();
  }
  void on_dhcp_bound(const DhcpLease&) override { ++bound; }
  void on_dhcp_lost(const DhcpLease&) override { ++lost; }

  VirtualLoop loop;
  gateway::Config config = gateway_config();
  gateway::Counters counters;
  gateway::LeaseTable leases{{.subnet = config.subnet4,
                              .first = config.first_guest4,
                              .reserved = {config.gateway4, config.host_alias4}}};
  gateway::DhcpServer server{config, leases, counters};
  Receiver receiver;
  bool is_cut = false;  ///< The server hears, but nobody hears it.
  int messages = 0;
  int bound = 0;
  int lost = 0;
  DhcpClient client{loop, *this, {.mac = kClientMac}, *this};
};

}  // namespace

TEST_CASE("beside hostd a lease takes two messages and has all that the gateway knows") {
  Pair pair;
  pair.loop.run_ready();
  REQUIRE(pair.client.state() == State::bound);
  CHECK(pair.messages == 1);
  const DhcpLease& lease = *pair.client.lease();
  CHECK(lease.address == pair.config.first_guest4);
  CHECK(lease.prefix_length == 24);
  CHECK(lease.server == pair.config.gateway4);
  CHECK(lease.dns_servers == std::vector{pair.config.gateway4});
  CHECK(lease.mtu == 65520);
  CHECK(lease.host_name == *DomainName::parse("guest"));
  CHECK(lease.domain == pair.config.domain);
  CHECK(lease.search == pair.config.search);
  CHECK(lease.duration == 24h);
  bool has_router = !lease.routers.empty() || !lease.routes.empty();
  CHECK(has_router);
}

TEST_CASE("beside hostd a lease is renewed for a year and keeps its address") {
  Pair pair;
  pair.loop.advance(24h * 365);
  CHECK(pair.client.state() == State::bound);
  CHECK(pair.client.lease()->address == pair.config.first_guest4);
  CHECK(pair.lost == 0);
  CHECK(pair.bound >= 700);
  CHECK(pair.messages == pair.bound);
}

TEST_CASE("an hour without hostd costs nothing, a day the lease, until it is back") {
  Pair pair;
  pair.loop.advance(12h - 1min);
  pair.is_cut = true;
  pair.loop.advance(1h);
  CHECK(pair.client.lease().has_value());
  pair.is_cut = false;
  pair.loop.advance(10h);
  CHECK(pair.client.state() == State::bound);
  CHECK(pair.lost == 0);
  pair.is_cut = true;
  pair.loop.advance(25h);
  CHECK(pair.lost == 1);
  CHECK_FALSE(pair.client.lease().has_value());
  pair.is_cut = false;
  pair.loop.advance(90s);
  CHECK(pair.client.state() == State::bound);
}
