// What a config file says of the policy.
#include <catch2/catch.hpp>

#include "hostd/config/file.h"

using namespace sluice;
using namespace sluice::hostd;
using Catch::Contains;

namespace {

Result<PolicyText> policy_of(std::string_view text) {
  auto file = ConfigFile::parse(text, "vm.toml");
  if (!file) return file.status();
  Options options;
  if (Status status = file->apply_values(options); !status) return status;
  if (Status status = file->apply_lists(options); !status) return status;
  return options.network.policy;
}

std::string error_of(std::string_view text) {
  auto policy = policy_of(text);
  REQUIRE_FALSE(policy);
  return policy.status().message();
}

}  // namespace

TEST_CASE("sets are read with the line of each member") {
  auto policy = policy_of(R"([policy.sets]
mirrors = ["deb.example.org",
           "*.pypi.example"]
lan = ["10.0.0.0/8"]
)");
  REQUIRE(policy);
  REQUIRE(policy->sets.size() == 3);
  auto member = [&](std::string_view text) {
    for (const SetText& set : policy->sets) {
      if (set.members == text) return set;
    }
    return SetText();
  };
  CHECK(member("10.0.0.0/8").name == "lan");
  CHECK(member("deb.example.org").name == "mirrors");
  CHECK(member("deb.example.org").line == 2);
  CHECK(member("*.pypi.example").line == 3);
  CHECK(member("*.pypi.example").where == "vm.toml");
}

TEST_CASE("a set that is no array of strings, or empty, is an error with its line") {
  for (const char* bad : {"mirrors = \"a.com\"", "mirrors = []", "mirrors = [1]"}) {
    INFO(bad);
    std::string error = error_of("[policy.sets]\n" + std::string(bad));
    CHECK_THAT(error, Contains("vm.toml, line 2: policy.sets.mirrors: "));
  }
  CHECK_THAT(error_of("[policy]\nsets = [\"a=b.com\"]"), Contains("[policy.sets]"));
}

TEST_CASE("presets and the leave for wide suffixes are keys of the policy") {
  auto policy = policy_of(R"([policy]
presets = ["pypi"]
allow-wide-suffix = true
rules = ["deny@a.com"]
)");
  REQUIRE(policy);
  CHECK(policy->wide_suffix);
  CHECK(policy->rules.size() > 1);
  CHECK_THAT(error_of("[policy]\npresets = [\"gihtub\"]"),
             Contains("vm.toml, line 2: policy.presets = gihtub") && Contains("'github'"));
}

TEST_CASE("rules for a part of the guest are tables of a block and its rules") {
  auto policy = policy_of(R"([policy]
rules = ["deny@b.com"]
[[policy.scope]]
prefix = "10.88.0.0/16"
rules = ["allow@a.com",
         "deny@any"]
)");
  REQUIRE(policy);
  REQUIRE(policy->rules.size() == 3);
  int scoped = 0;
  for (const RuleText& rule : policy->rules) {
    if (!rule.scope) continue;
    ++scoped;
    CHECK(rule.scope->to_string() == "10.88.0.0/16");
    CHECK(rule.line == (rule.text == "allow@a.com" ? 5 : 6));
    CHECK(rule.origin == RuleOrigin::config);
  }
  CHECK(scoped == 2);
}

TEST_CASE("a scope without block or rules, or with other keys, is an error with its line") {
  CHECK_THAT(error_of("[[policy.scope]]\nprefix = \"10.0.0.0/8\""),
             Contains("line 1") && Contains("prefix and rules"));
  CHECK_THAT(error_of("[[policy.scope]]\nprefix = \"10.0.0.0/8\"\nrule = []"),
             Contains("line 3: 'policy.scope.rule' is not a setting; did you mean 'rules'?"));
  CHECK_THAT(error_of("[[policy.scope]]\nprefix = \"10.0.0.0\"\nrules = [\"allow@any\", 1]"),
             Contains("line 3: policy.scope.rules"));
  CHECK_THAT(error_of("[[policy.scope]]\nprefix = \"10.0/8\"\nrules = [\"allow@any\"]"),
             Contains("line 3: policy.scope"));
}
