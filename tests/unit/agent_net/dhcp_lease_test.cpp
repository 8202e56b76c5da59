#include "wire/dhcp_lease.h"

#include <catch2/catch.hpp>

#include "dhcp_world.h"

using namespace sluice;
using namespace sluice::test;

namespace {

/// A reply with these options and a server identifier, nothing else.
Result<DhcpLease> lease_with(const std::function<void(DhcpBuilder&)>& fill,
                             const IpAddress& address = kAddress) {
  DhcpBuilder builder({.your_address = address, .client_mac = kClientMac, .type = DhcpType::ack},
                      1400);
  builder.add(DhcpOption::server_id, kServer);
  fill(builder);
  auto bytes = builder.finish();
  return DhcpLease::read(*DhcpView::parse(bytes));
}

DomainName name(const char* text) {
  return *DomainName::parse(text);
}

}  // namespace

TEST_CASE("every setting of a lease is read") {
  auto lease = lease_with([](DhcpBuilder& builder) {
    builder.add(DhcpOption::subnet_mask, wire::subnet_mask(28));
    builder.add(DhcpOption::routers, kServer);
    builder.add(DhcpOption::dns_servers, std::vector<std::uint8_t>{10, 0, 0, 1, 9, 9, 9, 9});
    builder.add(DhcpOption::host_name, "Build-7");
    builder.add(DhcpOption::domain_name, "vm.internal");
    builder.add16(DhcpOption::interface_mtu, 65520);
    builder.add32(DhcpOption::lease_seconds, 1000);
    builder.add_search_list({name("a.example"), name("b.example")});
    builder.add_routes(
        {{*IpPrefix::parse("10.9.0.0/16"), IpAddress()}, {*IpPrefix::parse("0.0.0.0/0"), kServer}});
  });
  REQUIRE(lease.is_ok());
  CHECK(lease->address == kAddress);
  CHECK(lease->prefix_length == 28);
  CHECK(lease->server == kServer);
  CHECK(lease->routers == std::vector{kServer});
  CHECK(lease->dns_servers == std::vector{kServer, IpAddress::v4(9, 9, 9, 9)});
  CHECK(lease->host_name == name("build-7"));
  CHECK(lease->domain == name("vm.internal"));
  CHECK(lease->search == std::vector{name("a.example"), name("b.example")});
  CHECK(lease->mtu == 65520);
  CHECK(lease->duration == 1000s);
  CHECK(lease->renew_after == 500s);
  CHECK(lease->rebind_after == 875s);
  REQUIRE(lease->routes.size() == 2);
  CHECK(lease->routes[0].router.is_unspecified());
}

TEST_CASE("what a server leaves out has a value that works") {
  auto lease = lease_with([](DhcpBuilder&) {});
  REQUIRE(lease.is_ok());
  CHECK(lease->prefix_length == 8);
  CHECK(lease->mtu == 0);
  CHECK(lease->duration == DhcpLease::kAssumedDuration);
  CHECK(lease_with([](DhcpBuilder&) {}, IpAddress::v4(172, 16, 0, 9))->prefix_length == 16);
  CHECK(lease_with([](DhcpBuilder&) {}, IpAddress::v4(192, 168, 0, 9))->prefix_length == 24);
}

TEST_CASE("a mask with holes or no server identifier is no lease, and the reason is told") {
  auto holes = lease_with([](DhcpBuilder& builder) {
    builder.add(DhcpOption::subnet_mask, IpAddress::v4(255, 0, 255, 0));
  });
  REQUIRE_FALSE(holes.is_ok());
  CHECK(holes.status().message().find("mask") != std::string::npos);
  DhcpBuilder builder({.your_address = kAddress, .client_mac = kClientMac, .type = DhcpType::ack});
  auto bytes = builder.finish();
  CHECK_FALSE(DhcpLease::read(*DhcpView::parse(bytes)).is_ok());
}

TEST_CASE("settings that would turn the guest against itself are left out") {
  auto lease = lease_with([](DhcpBuilder& builder) {
    builder.add(DhcpOption::subnet_mask, wire::subnet_mask(24));
    builder.add(DhcpOption::routers,
                std::vector<std::uint8_t>{127, 0, 0, 1, 224, 0, 0, 1, 10, 0, 0, 2, 10, 0, 0, 1});
    // Its own DNS server on 127.0.0.1 would ask itself.
    builder.add(DhcpOption::dns_servers, std::vector<std::uint8_t>{127, 0, 0, 1, 255, 255, 255, 255,
                                                                   10, 0, 0, 1, 10, 0, 0, 1});
    builder.add16(DhcpOption::interface_mtu, 68);
    builder.add_routes({{*IpPrefix::parse("127.0.0.0/8"), kServer},
                        {*IpPrefix::parse("224.0.0.0/4"), kServer},
                        {*IpPrefix::parse("10.1.0.0/16"), IpAddress::v4(224, 0, 0, 1)},
                        {*IpPrefix::parse("10.2.0.0/16"), kServer}});
    builder.add(DhcpOption::host_name, "evil; rm -rf /");
    builder.add(DhcpOption::domain_name, "a\nnameserver 6.6.6.6");
  });
  REQUIRE(lease.is_ok());
  CHECK(lease->routers == std::vector{kServer});
  CHECK(lease->dns_servers == std::vector{kServer});
  CHECK(lease->mtu == 0);
  REQUIRE(lease->routes.size() == 1);
  CHECK(lease->routes[0].destination == *IpPrefix::parse("10.2.0.0/16"));
  CHECK(lease->host_name.is_root());
  CHECK(lease->domain.is_root());
}

TEST_CASE("lists are no longer than their limits") {
  auto lease = lease_with([](DhcpBuilder& builder) {
    std::vector<std::uint8_t> many;
    for (std::uint8_t i = 1; i <= 100; ++i) many.insert(many.end(), {10, 7, 7, i});
    builder.add(DhcpOption::routers, many);
    builder.add(DhcpOption::dns_servers, many);
  });
  CHECK(lease->routers.size() == DhcpLease::kMaxRouters);
  CHECK(lease->dns_servers.size() == DhcpLease::kMaxDnsServers);
}
