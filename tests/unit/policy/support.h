#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <catch2/catch.hpp>

#include "policy/policy.h"
#include "policy/rule_set.h"

namespace sluice::policy {

inline IpAddress ip(std::string_view text) {
  auto address = IpAddress::parse(text);
  INFO(text);
  REQUIRE(address);
  return *address;
}

inline IpPrefix block(std::string_view text) {
  auto prefix = IpPrefix::parse(text);
  INFO(text);
  REQUIRE(prefix);
  return *prefix;
}

inline DomainName name(std::string_view text) {
  auto parsed = DomainName::parse(text);
  INFO(text);
  REQUIRE(parsed);
  return *parsed;
}

/// A host on a LAN with global IPv6, and the Network's default addresses.
inline HostView test_host() {
  return {.addresses = {ip("192.168.1.20"), ip("8.8.4.4"), ip("2600:1::20"), ip("127.0.0.1")},
          .on_link = {block("192.168.1.0/24"), block("2600:1::/64"), block("203.0.113.0/24"),
                      block("127.0.0.0/8")},
          .gateways = {ip("192.168.127.1"), ip("fd5a::1")},
          .host_aliases = {ip("192.168.127.254")},
          .guest_subnets = {block("192.168.127.0/24"), block("fd5a::/64")}};
}

inline std::vector<Rule> rules(std::string_view text) {
  if (text.empty()) return {};
  auto parsed = parse_rules({std::string(text), "--rule"});
  INFO(text << ": " << parsed.status().message());
  REQUIRE(parsed);
  return *parsed;
}

inline std::shared_ptr<const Policy> policy(std::string_view text, CompileOptions options = {}) {
  auto compiled = Policy::compile(rules(text), test_host(), options);
  REQUIRE(compiled);
  return *compiled;
}

inline Query egress(Protocol protocol, std::string_view remote, std::uint16_t port = 0,
                    const NameIndex* names = nullptr, TimePoint now = {}) {
  return {
      .protocol = protocol, .remote = ip(remote), .port = Port(port), .names = names, .now = now};
}

inline bool allows_tcp(const Policy& policy, std::string_view remote, std::uint16_t port = 443,
                       const NameIndex* names = nullptr) {
  return policy.judge(egress(Protocol::tcp, remote, port, names)).allowed();
}

inline bool resolves(const Policy& policy, std::string_view text) {
  return policy.judge_lookup(name(text)).allowed();
}

}  // namespace sluice::policy
