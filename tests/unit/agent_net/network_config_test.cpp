#include "agent/net/network_config.h"

#include <stdlib.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

#include "agent/net/interface_setup.h"
#include "agent/net/network_state.h"
#include "agent/net/router_dns_list.h"
#include "agent/net/sysctl.h"

using namespace sluice;
using namespace sluice::agent;
using namespace std::chrono_literals;

namespace {

IpAddress ip(const char* text) {
  return *IpAddress::parse(text);
}

NetworkConfig with_address(const char* text) {
  NetworkConfig config;
  config.addresses = {*AddressOnLink::parse(text)};
  return config;
}

const Link kLink{.index = 7, .name = "eth0", .mtu = 1500, .max_mtu = 9000, .carrier = true};

wire::DhcpLease lease_of(const char* address, int prefix_length) {
  wire::DhcpLease lease;
  lease.address = ip(address);
  lease.prefix_length = prefix_length;
  lease.routers = {ip("10.0.0.1"), ip("10.0.0.3")};
  return lease;
}

}  // namespace

TEST_CASE("an address on a link is written with its prefix length") {
  CHECK(AddressOnLink::parse("10.0.0.2/24")->prefix_length == 24);
  CHECK(AddressOnLink::parse("fd00::2/64")->address == ip("fd00::2"));
  CHECK(AddressOnLink::parse("10.0.0.2")->prefix_length == 32);
  for (const char* text : {"10.0.0.2/", "10.0.0.2/33", "10.0.0.2/-1", "10.0.0.2/2x", "x/8", ""}) {
    CHECK_FALSE(AddressOnLink::parse(text).is_ok());
  }
}

TEST_CASE("a config that can't be is refused with the word that is wrong") {
  CHECK(check(NetworkConfig()));
  CHECK(check(with_address("10.0.0.2/24")));
  CHECK_FALSE(check(with_address("127.0.0.1/8")));
  CHECK_FALSE(check(with_address("224.0.0.1/24")));
  CHECK_FALSE(check(with_address("0.0.0.0/24")));
  CHECK_FALSE(check(with_address("10.0.0.2/0")));

  NetworkConfig config;
  config.ipv6 = Ipv6Mode::off;
  config.gateway6 = ip("fd00::1");
  CHECK(check(config).message().find("fd00::1") != std::string::npos);
  config = NetworkConfig();
  config.gateway4 = ip("fd00::1");
  CHECK_FALSE(check(config));
  config = NetworkConfig();
  config.ipv4 = Ipv4Mode::fixed;
  CHECK_FALSE(check(config));
  config = NetworkConfig();
  config.mtu = 1000;  // too small for IPv6
  CHECK_FALSE(check(config));
  config.ipv6 = Ipv6Mode::off;
  CHECK(check(config));
  config.interface = "much-too-long-a-name";
  CHECK_FALSE(check(config));
}

TEST_CASE("of a lease without routes the first router is the default route") {
  InterfaceSetup setup;
  auto lease = lease_of("10.0.0.2", 24);
  lease.mtu = 65520;
  add_lease(lease, kLink, 100s, setup);
  REQUIRE(setup.addresses.size() == 1);
  CHECK(setup.addresses[0].valid == 100s);
  REQUIRE(setup.routes.size() == 1);
  CHECK(setup.routes[0].destination.length() == 0);
  CHECK(setup.routes[0].gateway == ip("10.0.0.1"));
  CHECK_FALSE(setup.routes[0].gateway_on_link);
  // No more than the driver takes.
  CHECK(setup.mtu == 9000);
}

TEST_CASE("routes of a lease replace its routers, and those on the link come first") {
  InterfaceSetup setup;
  auto lease = lease_of("10.0.0.2", 24);
  lease.routes = {{*IpPrefix::parse("0.0.0.0/0"), ip("10.9.0.1")},
                  {*IpPrefix::parse("10.9.0.0/16"), IpAddress()},
                  {*IpPrefix::parse("10.0.0.0/24"), IpAddress()},
                  {*IpPrefix::parse("172.16.0.0/12"), ip("192.168.9.9")}};
  add_lease(lease, kLink, kForever, setup);
  REQUIRE(setup.routes.size() == 3);  // the prefix of the address is the kernel's
  CHECK(setup.routes[0].destination == *IpPrefix::parse("10.9.0.0/16"));
  CHECK_FALSE(setup.routes[0].gateway.has_value());
  CHECK(setup.routes[1].gateway == ip("10.9.0.1"));
  CHECK_FALSE(setup.routes[1].gateway_on_link);
  CHECK(setup.routes[2].gateway_on_link);
}

TEST_CASE("a gateway that is configured goes before the lease's") {
  InterfaceSetup setup;
  add_default_route(ip("10.0.0.254"), kLink, setup);
  add_lease(lease_of("10.0.0.2", 32), kLink, kForever, setup);
  REQUIRE(setup.routes.size() == 1);
  CHECK(setup.routes[0].gateway == ip("10.0.0.254"));
}

TEST_CASE("ready is a usable address, and a router where it is IPv6 by advertisements") {
  auto stage = [](const InterfaceAddress& own, bool with_router, Ipv6Mode mode) {
    std::vector<Route> routes;
    if (with_router) {
      Route route;
      route.destination = *IpPrefix::parse("::/0");
      route.gateway = ip("fe80::1");
      route.link = 7;
      routes.push_back(route);
    }
    return state_of(kLink, {own}, routes, mode).stage;
  };
  InterfaceAddress own{.link = 7, .address = ip("fd00::2"), .prefix_length = 64};
  CHECK(stage(own, true, Ipv6Mode::adverts) == NetworkStage::ready);
  CHECK(stage(own, false, Ipv6Mode::adverts) == NetworkStage::waiting_for_address);
  CHECK(stage(own, false, Ipv6Mode::fixed) == NetworkStage::ready);
  own.tentative = true;
  CHECK(stage(own, true, Ipv6Mode::adverts) == NetworkStage::waiting_for_address);
  own.tentative = false;
  own.duplicate = true;
  CHECK(stage(own, true, Ipv6Mode::adverts) == NetworkStage::waiting_for_address);
  InterfaceAddress local{.link = 7, .address = ip("fe80::2"), .prefix_length = 64};
  CHECK(stage(local, true, Ipv6Mode::adverts) == NetworkStage::waiting_for_address);
  InterfaceAddress elsewhere{.link = 8, .address = ip("10.0.0.2"), .prefix_length = 24};
  CHECK(stage(elsewhere, true, Ipv6Mode::adverts) == NetworkStage::waiting_for_address);
  InterfaceAddress v4{.link = 7, .address = ip("10.0.0.2"), .prefix_length = 24};
  CHECK(stage(v4, false, Ipv6Mode::adverts) == NetworkStage::ready);
}

TEST_CASE("the default route with the smallest metric is the gateway") {
  Route far{.destination = IpPrefix(), .gateway = ip("10.0.0.9"), .link = 7, .metric = 100};
  Route near{.destination = IpPrefix(), .gateway = ip("10.0.0.1"), .link = 7, .metric = 10};
  Route other{.destination = IpPrefix(), .gateway = ip("10.9.0.1"), .link = 8, .metric = 0};
  CHECK(state_of(kLink, {}, {far, near, other}, Ipv6Mode::off).gateway4 == ip("10.0.0.1"));
}

TEST_CASE("advertised resolvers last as long as they were given") {
  RouterDnsList list;
  TimePoint now{1000s};
  RouterDns dns{.servers = {ip("fd00::1"), ip("fd00::2")},
                .search = {*DomainName::parse("a.example")},
                .servers_lifetime = 60s,
                .search_lifetime = 30s};
  list.learn(dns, now);
  CHECK(list.servers(now).size() == 2);
  CHECK(list.next_end(now) == now + 30s);
  CHECK(list.search(now + 30s).empty());
  CHECK(list.servers(now + 59s).size() == 2);
  CHECK(list.servers(now + 60s).empty());
  CHECK_FALSE(list.next_end(now + 60s).has_value());
  // Advertised again, and taken back.
  list.learn(dns, now + 50s);
  CHECK(list.servers(now + 100s).size() == 2);
  dns.servers = {ip("fd00::1")};
  dns.servers_lifetime = 0s;
  list.learn(dns, now + 100s);
  CHECK(list.servers(now + 100s) == std::vector{ip("fd00::2")});
  dns.servers_lifetime = kForever;
  list.learn(dns, now + 100s);
  CHECK(list.servers(now + 24h * 10000) == std::vector{ip("fd00::1")});
}

TEST_CASE("a router that advertises ever new resolvers fills no memory") {
  RouterDnsList list;
  TimePoint now{1000s};
  for (std::uint8_t i = 1; i < 200; ++i) {
    std::array<std::uint8_t, 16> bytes{0xfd};
    bytes[15] = i;
    list.learn({.servers = {IpAddress::v6(bytes)}, .servers_lifetime = 600s}, now);
  }
  CHECK(list.servers(now).size() == RouterDnsList::kMaxEntries);
}

TEST_CASE("a sysctl is written only where it has another value") {
  std::string root = "/tmp/sluice-sysctl-XXXXXX";
  REQUIRE(::mkdtemp(root.data()) != nullptr);
  std::filesystem::create_directories(root + "/net/ipv4");
  std::string path = root + "/net/ipv4/ip_forward";
  std::ofstream(path) << "0\n";
  Sysctl sysctl(root);
  CHECK(sysctl.read("net/ipv4/ip_forward").value() == "0");
  auto written = std::filesystem::last_write_time(path);
  CHECK(sysctl.write("net/ipv4/ip_forward", "0"));
  CHECK(std::filesystem::last_write_time(path) == written);
  CHECK(sysctl.write("net/ipv4/ip_forward", "1"));
  CHECK(sysctl.read("net/ipv4/ip_forward").value() == "1");
  CHECK(sysctl.write("net/ipv4/no_such", "1").code() == StatusCode::not_found);
  std::filesystem::remove_all(root);
}
