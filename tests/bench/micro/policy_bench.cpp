#include <fmt/format.h>

#include <algorithm>
#include <catch2/catch.hpp>

#include "policy/many_rules.h"

namespace sluice::policy {
namespace {

/// Asked about in turn, of those that the rules allow.
constexpr int kMostNames = 1000;

TEST_CASE("verdicts", "[policy]") {
  for (int rules : {10, 10'000}) {
    auto compiled = Policy::compile(many_rules(rules), test_host());
    REQUIRE(compiled);
    const Policy& policy = **compiled;
    int count = std::min((rules + 3) / 4, kMostNames);
    ManyNames names(count);
    for (int i = 0; i < count; ++i) {
      REQUIRE(policy.judge(names.query(i)).allowed());
      REQUIRE(policy.judge_lookup(names.name(i)).allowed());
    }
    int i = 0;
    BENCHMARK(fmt::format("judge by address, {} rules", rules)) {
      return policy.judge(names.query(i++));
    };
    BENCHMARK(fmt::format("judge by name, {} rules", rules)) {
      ++i;
      return policy.judge_named(names.query(i), names.name(i));
    };
    BENCHMARK(fmt::format("judge a DNS question, {} rules", rules)) {
      return policy.judge_lookup(names.name(i++));
    };
  }
}

TEST_CASE("rules are compiled", "[policy]") {
  const HostView host = test_host();
  for (int count : {10, 10'000}) {
    auto rules = many_rules(count);
    BENCHMARK(fmt::format("compile {} rules", count)) {
      return Policy::compile(rules, host);
    };
  }
}

}  // namespace
}  // namespace sluice::policy
