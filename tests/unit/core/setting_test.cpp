#include "core/setting.h"

#include <catch2/catch.hpp>

using namespace sluice;
using Catch::Matchers::Contains;
using Catch::Matchers::StartsWith;
using core::apply_setting;

TEST_CASE("a setting that is one value keeps the last one given") {
  NetworkConfig config;
  CHECK(apply_setting(config, "mtu", "9000"));
  CHECK(apply_setting(config, "mtu", "1500"));
  CHECK(config.mtu == 1500);
  CHECK(apply_setting(config, "name", "one"));
  CHECK(apply_setting(config, "guest-name", "web"));
  CHECK(apply_setting(config, "lease-file", "/tmp/leases"));
  CHECK(apply_setting(config, "resolv-conf", "/tmp/resolv.conf"));
  CHECK(apply_setting(config, "profile", "all"));
  CHECK(config.name == "one");
  CHECK(config.guest_name == "web");
  CHECK(config.lease_file == "/tmp/leases");
  CHECK(config.resolv_conf == "/tmp/resolv.conf");
  CHECK(config.policy.profile == "all");
  CHECK(apply_setting(config, "max-flows", "7"));
  CHECK(apply_setting(config, "memory-bytes", "1048576"));
  CHECK(config.max_flows == 7);
  CHECK(config.memory_bytes == 1048576);
  CHECK(apply_setting(config, "subnet", "10.0.2.0/24"));
  CHECK(apply_setting(config, "gateway", "10.0.2.2"));
  CHECK(apply_setting(config, "guest", "10.0.2.15"));
  CHECK(apply_setting(config, "host-alias", "10.0.2.3"));
  CHECK(apply_setting(config, "prefix6", "fd00:1::/64"));
  CHECK(config.subnet4.to_string() == "10.0.2.0/24");
  CHECK(config.gateway4 == IpAddress::v4(10, 0, 2, 2));
  CHECK(config.guest4 == IpAddress::v4(10, 0, 2, 15));
  CHECK(config.host_alias4 == IpAddress::v4(10, 0, 2, 3));
  CHECK(config.prefix6.to_string() == "fd00:1::/64");
}

TEST_CASE("a setting that is a list grows with each value, in order") {
  NetworkConfig config;
  CHECK(apply_setting(config, "publish", "8080:80"));
  CHECK(apply_setting(config, "publish", "8081:81"));
  REQUIRE(config.publish.size() == 2);
  CHECK(config.publish[1].guest_first == Port(81));
  CHECK(apply_setting(config, "reverse", "2375:unix:/run/docker.sock"));
  CHECK(config.reverse.size() == 1);
  CHECK(apply_setting(config, "dns", "192.0.2.1"));
  CHECK(apply_setting(config, "dns", "[2001:db8::1]:5353"));
  REQUIRE(config.dns_upstreams.size() == 2);
  CHECK(config.dns_upstreams[0].endpoint.port == Port(53));
  CHECK(config.dns_upstreams[1].endpoint.port == Port(5353));
  CHECK(apply_setting(config, "route", "10.88.0.0/16"));
  CHECK(config.routed_prefixes.size() == 1);
}

TEST_CASE("rules keep their order, whatever the setting that gave them") {
  NetworkConfig config;
  CHECK(apply_setting(config, "deny", "bad.example.com"));
  CHECK(apply_setting(config, "allow", "example.com"));
  CHECK(apply_setting(config, "rule", "allow@public"));
  REQUIRE(config.policy.rules.size() == 3);
  CHECK(config.policy.rules[0].shorthand == Action::deny);
  CHECK(config.policy.rules[1].shorthand == Action::allow);
  CHECK(config.policy.rules[2].shorthand == std::nullopt);
  CHECK(config.policy.rules[2].where == "rule");
}

TEST_CASE("an unknown setting is not found, and the error names it") {
  NetworkConfig config;
  for (const char* setting : {"mtus", "", "MTU", "mtu ", "--mtu"}) {
    Status status = apply_setting(config, setting, "1500");
    CHECK(status.code() == StatusCode::not_found);
    CHECK_THAT(status.message(), Contains("'" + std::string(setting) + "'"));
  }
}

TEST_CASE("a value that can't be used is refused by the setting's name, and changes nothing") {
  auto [setting, value] = GENERATE(table<const char*, const char*>({
      {"mtu", ""},
      {"mtu", "1279"},
      {"mtu", "65521"},
      {"mtu", "65536"},
      {"mtu", "-1"},
      {"mtu", "1500x"},
      {"mtu", " 1500"},
      {"max-flows", "many"},
      {"max-flows", "-1"},
      {"max-flows", "18446744073709551616"},
      {"memory-bytes", "1M"},
      {"gateway", "1.2.3"},
      {"guest", "example.com"},
      {"host-alias", ""},
      {"subnet", "10.0.0.0/33"},
      {"prefix6", "fd00::/129"},
      {"route", "10.0.0.0/x"},
      {"publish", "80"},
      {"reverse", "80"},
      {"dns", "nowhere"},
  }));
  NetworkConfig config;
  Status status = apply_setting(config, setting, value);
  INFO(setting << " = '" << value << "': " << status.message());
  CHECK(status.code() == StatusCode::invalid_argument);
  CHECK_THAT(status.message(), StartsWith(std::string(setting) + ": "));
  CHECK(config.mtu == NetworkConfig().mtu);
  CHECK(config.max_flows == NetworkConfig().max_flows);
  CHECK(config.publish.empty());
  CHECK(config.dns_upstreams.empty());
}
