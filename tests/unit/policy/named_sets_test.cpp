#include "policy/named_sets.h"

#include "policy/support.h"

namespace sluice::policy {
namespace {

SetSource set(std::string name, std::string members, int line = 0) {
  return {std::move(name), {std::move(members), "vm.toml", line}};
}

Result<std::vector<Rule>> assembled(std::string rule, std::vector<SetSource> sets) {
  return assemble_rules({.command_line = {{std::move(rule), "--rule"}}, .sets = std::move(sets)});
}

std::string list_of(std::string rule, std::vector<SetSource> sets) {
  auto rules = assembled(std::move(rule), std::move(sets));
  INFO(rules.status().message());
  REQUIRE(rules);
  std::string out;
  for (const Rule& r : *rules) out += (out.empty() ? "" : ", ") + r.to_string();
  return out;
}

std::string error_of(std::string rule, std::vector<SetSource> sets) {
  auto rules = assembled(std::move(rule), std::move(sets));
  REQUIRE_FALSE(rules);
  CHECK(rules.status().code() == StatusCode::invalid_argument);
  return rules.status().message();
}

TEST_CASE("a rule on a set is a rule on each of its members, in their order") {
  CHECK(list_of("deny@a.com,allow@set:mirrors:tcp:443,deny@b.com",
                {set("mirrors", "deb.example.org, *.pypi.example"), set("mirrors", "10.0.0.0/8"),
                 set("mirrors", "[2001:db8::1]")}) ==
        "deny@a.com, allow@deb.example.org:tcp:443, allow@*.pypi.example:tcp:443, "
        "allow@10.0.0.0/8:tcp:443, allow@[2001:db8::1]:tcp:443, deny@b.com");
}

TEST_CASE("a set is written with or without its '@', and after --allow and --deny too") {
  std::vector<SetSource> sets{set("m", "a.com")};
  CHECK(list_of("allow@set:m", sets) == "allow@a.com");
  CHECK(list_of("allow@@set:m", sets) == "allow@a.com");
  CHECK(list_of("deny:any@@set:m:udp,allow@any", sets) == "deny:any@a.com:udp, allow@any");
  for (const char* text : {"set:m:tcp:80", "@set:m:tcp:80"}) {
    auto rules =
        assemble_rules({.command_line = {{text, "--allow", 0, Action::allow}}, .sets = sets});
    REQUIRE(rules);
    CHECK(rules->at(0).to_string() == "allow@a.com:tcp:80");
  }
}

TEST_CASE("a denial says of which set its rule is") {
  auto rules = assemble_rules({.config = {{"deny@set:bad", "vm.toml", 3}},
                               .profile = "all",
                               .sets = {set("bad", "203.0.113.0/24", 7)}});
  REQUIRE(rules);
  auto compiled = Policy::compile(*rules, test_host());
  REQUIRE(compiled);
  Decision decision = (*compiled)->judge(egress(Protocol::tcp, "203.0.113.9", 80));
  CHECK((*compiled)->describe(decision.verdict) ==
        "rule \"deny@203.0.113.0/24\" (vm.toml, line 3, set bad)");
}

TEST_CASE("an unknown set is an error with column and the nearest name") {
  CHECK(error_of("allow@set:miror", {set("mirrors", "a.com")}) ==
        "--rule 'allow@set:miror', column 11: 'miror' is not a set; did you mean 'mirrors'?");
  CHECK_THAT(error_of("allow@set:", {set("mirrors", "a.com")}), Catch::Contains("mirrors"));
  CHECK_THAT(error_of("allow@set:x", {}), Catch::Contains("none is defined"));
}

TEST_CASE("what is no member of a set is an error with the place where it was written") {
  CHECK(error_of("allow@any", {set("m", "a.com,public", 4)}) ==
        "vm.toml, line 4: set m: 'public' is a group; a set has names, suffixes, addresses and "
        "blocks");
  CHECK_THAT(error_of("allow@any", {set("m", "a.com:tcp:443", 4)}),
             Catch::Contains("'allow@set:m:tcp:443'"));
  CHECK_THAT(error_of("allow@any", {set("m", "set:m", 4)}), Catch::Contains("not a set"));
  CHECK_THAT(error_of("allow@any", {set("m", "10.0.0.1/8", 4)}), Catch::Contains("line 4"));
  CHECK_THAT(error_of("allow@any", {set("m", "", 4)}), Catch::Contains("a rule is missing"));
  for (const char* name : {"", "a b", "a:b", "a.b"}) {
    CHECK_THAT(error_of("allow@any", {set(name, "a.com")}), Catch::Contains("a set's name"));
  }
}

TEST_CASE("a wide suffix in a set needs the same leave as in a rule") {
  CHECK_THAT(error_of("allow@set:m", {set("m", "*.com")}), Catch::Contains("--allow-wide-suffix"));
  auto wide = assemble_rules({.command_line = {{"allow@set:m", "--rule"}},
                              .sets = {set("m", "*.com")},
                              .wide_suffix = true});
  REQUIRE(wide);
  CHECK(wide->at(0).to_string() == "allow@*.com");
}

TEST_CASE("sets multiply rules only up to the bound on rules") {
  std::string many = "a.com", rule = "allow@set:m";
  for (int i = 0; i < 999; ++i) many += ",a.com";
  for (int i = 0; i < 100; ++i) rule += ",allow@set:m";
  auto rules = assembled(rule, {set("m", many)});
  REQUIRE_FALSE(rules);
  CHECK(rules.status().code() == StatusCode::exhausted);
}

}  // namespace
}  // namespace sluice::policy
