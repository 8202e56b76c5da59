#include "policy/rule_set.h"

#include "policy/support.h"

namespace sluice::policy {
namespace {

RuleSource rule(std::string text) {
  return {std::move(text), "--rule"};
}
RuleSource allow(std::string text) {
  return {std::move(text), "--allow", 0, Action::allow};
}
RuleSource deny(std::string text) {
  return {std::move(text), "--deny", 0, Action::deny};
}

std::string list_of(const RuleInputs& inputs) {
  auto assembled = assemble_rules(inputs);
  INFO(assembled.status().message());
  REQUIRE(assembled);
  std::string out;
  for (const Rule& r : *assembled) out += (out.empty() ? "" : ", ") + r.to_string();
  return out;
}

TEST_CASE("rules come from the command line as written, then the config, then the profile") {
  RuleInputs inputs{.command_line = {rule("deny@a.com"), allow("b.com"), deny("c.com")},
                    .config = {{"allow@d.com", "policy.toml", 3}},
                    .profile = "private"};
  CHECK(list_of(inputs) == "deny@a.com, allow@b.com, deny@c.com, allow@d.com, allow@private");
}

TEST_CASE("no rule and no profile is the profile public") {
  CHECK(list_of({}) == "allow@public");
}

TEST_CASE("an allow without a profile is the profile none") {
  CHECK(list_of({.command_line = {allow("a.com")}}) == "allow@a.com");
  CHECK(list_of({.command_line = {rule("allow@a.com")}}) == "allow@a.com");
  CHECK(list_of({.config = {rule("allow@a.com")}}) == "allow@a.com");
}

TEST_CASE("only denies, or only ingress rules, without a profile are taken from the default") {
  CHECK(list_of({.command_line = {deny("a.com")}}) == "deny@a.com, allow@public");
  CHECK(list_of({.command_line = {rule("allow:ingress@public:tcp:80")}}) ==
        "allow:ingress@public:tcp:80, allow@public");
}

TEST_CASE("a profile that is named counts beside any rule") {
  CHECK(list_of({.command_line = {allow("a.com")}, .profile = "public"}) ==
        "allow@a.com, allow@public");
  CHECK(list_of({.profile = "none"}) == "");
  CHECK(list_of({.profile = "all"}) == "allow@any");
  CHECK(list_of({.profile = "public,host"}) == "allow@public, allow@host");
}

TEST_CASE("an unknown profile is an error with the nearest name") {
  auto assembled = assemble_rules({.profile = "public,hots"});
  REQUIRE_FALSE(assembled);
  CHECK(assembled.status().message() ==
        "--profile, column 8: 'hots' is not a profile; did you mean 'host'?");
}

TEST_CASE("a bad rule anywhere leaves no rules at all") {
  CHECK_FALSE(assemble_rules({.command_line = {allow("a.com"), rule("deny@")}}));
  CHECK_FALSE(assemble_rules({.config = {rule("allow")}}));
}

TEST_CASE("the number of rules is bounded") {
  std::string many = "deny@a.com";
  for (int i = 0; i < 9'999; ++i) many += ",deny@a.com";
  std::vector<RuleSource> config(11, rule(many));
  auto assembled = assemble_rules({.config = config});
  REQUIRE_FALSE(assembled);
  CHECK(assembled.status().code() == StatusCode::exhausted);
}

}  // namespace
}  // namespace sluice::policy
