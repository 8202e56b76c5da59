#include "core/config_check.h"

#include <catch2/catch.hpp>

using namespace sluice;
using Catch::Matchers::Contains;
using Catch::Matchers::StartsWith;
using core::make_gateway_config;
using core::parse_mtu;

namespace {

IpPrefix block(std::string_view text) {
  return *IpPrefix::parse(text);
}
IpAddress ip(std::string_view text) {
  return *IpAddress::parse(text);
}

/// The error's message; "" where the configuration is accepted.
std::string refusal(const NetworkConfig& config) {
  auto checked = make_gateway_config(config);
  if (checked) return "";
  CHECK(checked.status().code() == StatusCode::invalid_argument);
  return checked.status().message();
}

}  // namespace

TEST_CASE("the addresses default to gvproxy's") {
  auto config = make_gateway_config({});
  REQUIRE(config);
  CHECK(config->gateway4 == ip("192.168.127.1"));
  CHECK(config->first_guest4 == ip("192.168.127.2"));
  CHECK(config->host_alias4 == ip("192.168.127.254"));
  CHECK(config->gateway6 == config->prefix6.at(1));
  CHECK(config->domain.text() == "vm.internal");
}

TEST_CASE("the MTU goes from 1280 to 65520, and the error says so") {
  NetworkConfig config;
  for (auto [mtu, is_good] : {std::pair(1279, false),
                              {1280, true},
                              {65520, true},
                              {65521, false},
                              {0, false},
                              {65535, false}}) {
    INFO(mtu);
    config.mtu = static_cast<std::uint16_t>(mtu);
    auto parsed = parse_mtu(std::to_string(mtu));
    CHECK(parsed.is_ok() == is_good);
    if (is_good) {
      CHECK(refusal(config).empty());
      CHECK(*parsed == mtu);
    } else {
      CHECK_THAT(refusal(config), StartsWith("mtu " + std::to_string(mtu) + ": "));
      CHECK_THAT(refusal(config), Contains("from 1280 to 65520"));
      CHECK(refusal(config) == "mtu " + std::to_string(mtu) + ": " + parsed.status().message());
    }
  }
  for (const char* text : {"", "x", "1500 ", "0x600", "4294968796", "-1500"}) {
    INFO(text);
    CHECK_FALSE(parse_mtu(text));
  }
}

TEST_CASE("a subnet has room for gateway, guest and host alias, and is IPv4") {
  NetworkConfig config;
  for (const char* good : {"10.0.0.0/8", "10.0.0.0/29", "172.16.0.0/12"}) {
    config.subnet4 = block(good);
    INFO(good);
    CHECK(refusal(config).empty());
  }
  for (const char* bad : {"10.0.0.0/30", "10.0.0.0/32", "10.0.0.0/7", "0.0.0.0/0", "fd00::/64"}) {
    config.subnet4 = block(bad);
    INFO(bad);
    CHECK_THAT(refusal(config), StartsWith("subnet " + config.subnet4.to_string() + ": "));
    CHECK_THAT(refusal(config), Contains("such as 192.168.127.0/24"));
  }
}

TEST_CASE("the IPv6 prefix is a /64") {
  NetworkConfig config;
  config.prefix6 = block("2001:db8:0:7::/64");
  CHECK(refusal(config).empty());
  for (const char* bad : {"fd00::/63", "fd00::/65", "10.0.0.0/24"}) {
    config.prefix6 = block(bad);
    INFO(bad);
    CHECK_THAT(refusal(config), StartsWith("prefix6 " + config.prefix6.to_string() + ": "));
    CHECK_THAT(refusal(config), Contains("such as fd00:1::/64"));
  }
}

TEST_CASE("at least one connection must be possible") {
  NetworkConfig config;
  config.max_flows = config.max_held_syns = 1;
  CHECK(refusal(config).empty());
  config.max_flows = 0;
  CHECK_THAT(refusal(config), StartsWith("max-flows"));
  config.max_flows = 1;
  config.max_held_syns = 0;
  CHECK_THAT(refusal(config), Contains("max-held-syns"));
}

TEST_CASE("chosen addresses are host addresses of the subnet") {
  for (const char* bad : {"10.0.0.1", "192.168.127.0", "192.168.127.255", "192.168.128.1", "::1"}) {
    INFO(bad);
    std::string found = std::string(" ") + bad + ": not a host address of the subnet";
    NetworkConfig gateway, guest, alias;
    gateway.gateway4 = guest.guest4 = alias.host_alias4 = ip(bad);
    CHECK_THAT(refusal(gateway), StartsWith("gateway" + found));
    CHECK_THAT(refusal(guest), StartsWith("guest" + found));
    CHECK_THAT(refusal(alias), StartsWith("host-alias" + found));
  }
}

TEST_CASE("no two of the addresses are the same, and the error says whose it is") {
  NetworkConfig config;
  config.guest4 = ip("192.168.127.1");
  CHECK_THAT(refusal(config), StartsWith("guest 192.168.127.1: that is the gateway's address"));
  config = {};
  config.host_alias4 = ip("192.168.127.2");
  CHECK_THAT(refusal(config), StartsWith("host-alias 192.168.127.2: that is the guest's address"));
}

TEST_CASE("the defaults make way for chosen addresses") {
  auto addresses = [](const NetworkConfig& config) {
    auto made = make_gateway_config(config);
    INFO(made.status().message());
    REQUIRE(made);
    return made->gateway4.to_string() + " " + made->first_guest4.to_string() + " " +
           made->host_alias4.to_string();
  };
  NetworkConfig config;
  config.subnet4 = block("10.0.0.0/29");
  CHECK(addresses(config) == "10.0.0.1 10.0.0.2 10.0.0.6");
  config.gateway4 = ip("10.0.0.6");
  CHECK(addresses(config) == "10.0.0.6 10.0.0.5 10.0.0.4");
  config.gateway4 = ip("10.0.0.5");
  CHECK(addresses(config) == "10.0.0.5 10.0.0.6 10.0.0.4");
  config.gateway4 = ip("10.0.0.2");
  config.guest4 = ip("10.0.0.6");
  CHECK(addresses(config) == "10.0.0.2 10.0.0.6 10.0.0.5");
  // Every choice of two addresses leaves a third.
  for (std::uint64_t gateway = 1; gateway <= 6; ++gateway) {
    for (std::uint64_t guest = 1; guest <= 6; ++guest) {
      if (gateway == guest) continue;
      config.gateway4 = config.subnet4.at(gateway);
      config.guest4 = config.subnet4.at(guest);
      CHECK(refusal(config).empty());
    }
  }
}

TEST_CASE("a guest's name is one label") {
  NetworkConfig config;
  for (const char* good : {"a", "web-1", "0"}) {
    config.guest_name = good;
    CHECK(refusal(config).empty());
  }
  for (const std::string& bad : {std::string(), std::string("a.b"), std::string("a b"),
                                 std::string("\xc3\xa4"), std::string(64, 'a')}) {
    config.guest_name = bad;
    INFO(bad);
    CHECK_THAT(refusal(config), StartsWith("guest-name '" + bad + "': one label"));
  }
}

TEST_CASE("a static lease is of a guest's MAC and a free address of the Network") {
  const MacAddress mac({0x52, 0x54, 0, 0, 0, 1});
  auto with = [](const MacAddress& owner, const char* address) {
    NetworkConfig config;
    config.static_leases = {{owner, ip(address)}};
    return config;
  };
  CHECK(refusal(with(mac, "192.168.127.3")).empty());
  CHECK(refusal(with(mac, "192.168.127.2")).empty());
  CHECK(refusal(with(mac, "fd53:4c55:4943::99")).empty());
  for (const char* taken : {"192.168.127.0", "192.168.127.1", "192.168.127.254", "192.168.127.255",
                            "10.0.0.1", "fd53:4c55:4943::1", "fd53:4c55:4943::fe", "2001:db8::1"}) {
    INFO(taken);
    CHECK_THAT(refusal(with(mac, taken)),
               StartsWith("lease " + mac.to_string() + " = " + taken + ": "));
  }
  CHECK_THAT(refusal(with(MacAddress(), "192.168.127.3")), StartsWith("lease "));
  CHECK_THAT(refusal(with(MacAddress::broadcast(), "192.168.127.3")), StartsWith("lease "));
}

TEST_CASE("a routed prefix lies outside of the guest's own subnets") {
  NetworkConfig config;
  config.routed_prefixes = {block("10.88.0.0/16"), block("fd00:88::/64")};
  CHECK(refusal(config).empty());
  for (const char* bad : {"192.168.0.0/16", "192.168.127.128/25", "0.0.0.0/0", "fd53::/16"}) {
    config.routed_prefixes = {block(bad)};
    INFO(bad);
    CHECK_THAT(refusal(config), StartsWith("route " + config.routed_prefixes[0].to_string() +
                                           ": overlaps the guest's own subnet"));
  }
}
