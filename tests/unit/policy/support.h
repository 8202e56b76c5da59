#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <catch2/catch.hpp>

#include "policy/policy.h"
#include "policy/rule_set.h"
#include "policy/world.h"

namespace sluice::policy {

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
