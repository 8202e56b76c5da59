#include "agent/init/resolver_file.h"

#include <catch2/catch.hpp>

namespace sluice::agent {

namespace {

NetworkState network() {
  NetworkState state;
  state.interface = "eth0";
  for (const char* server : {"10.0.2.1", "fd00::1", "fe80::1", "10.0.2.2"}) {
    state.dns_servers.push_back(*IpAddress::parse(server));
  }
  state.search = {*DomainName::parse("corp.example"), *DomainName::parse("example")};
  return state;
}

}  // namespace

TEST_CASE("resolv.conf has the first three resolvers of the network and its search list") {
  CHECK(resolver_text(network(), std::nullopt) ==
        "search corp.example example\nnameserver 10.0.2.1\nnameserver fd00::1\n"
        "nameserver fe80::1%eth0\n");
  CHECK(resolver_text({}, std::nullopt).empty());
}

TEST_CASE("with the guest's own resolver resolv.conf has it alone, and the search list stays") {
  CHECK(resolver_text(network(), IpAddress::loopback(Family::v4)) ==
        "search corp.example example\nnameserver 127.0.0.1\noptions edns0\n");
  CHECK(resolver_text({}, IpAddress::loopback(Family::v6)) == "nameserver ::1\noptions edns0\n");
}

}  // namespace sluice::agent
