// Rules for one block of addresses behind the guest's NIC: a container, or several.
#include "policy/support.h"

namespace sluice::policy {
namespace {

RuleSource in_scope(std::string_view scope, std::string text) {
  return {std::move(text), "vm.toml", 4, std::nullopt, block(scope)};
}

std::shared_ptr<const Policy> made(std::vector<RuleSource> config) {
  auto rules = assemble_rules({.config = std::move(config), .profile = "none"});
  REQUIRE(rules);
  auto compiled = Policy::compile(*rules, test_host());
  REQUIRE(compiled);
  return *compiled;
}

Query from(std::optional<std::string_view> inner, std::string_view remote, std::uint16_t port = 443,
           const NameIndex* names = nullptr) {
  Query query = egress(Protocol::tcp, remote, port, names);
  if (inner) query.inner = ip(*inner);
  return query;
}

TEST_CASE("a rule with a scope counts for what comes from there alone") {
  auto p = made({in_scope("10.88.0.0/16", "allow@1.1.1.1")});
  CHECK(p->judge(from("10.88.3.4", "1.1.1.1")).allowed());
  CHECK_FALSE(p->judge(from("10.89.3.4", "1.1.1.1")).allowed());
  CHECK_FALSE(p->judge(from("192.168.127.2", "1.1.1.1")).allowed());
  CHECK_FALSE(p->judge(from(std::nullopt, "1.1.1.1")).allowed());
}

TEST_CASE("rules with a scope and without stand in one order") {
  auto p = made({in_scope("10.88.0.0/16", "deny@1.1.1.0/24"),
                 {"allow@1.0.0.0/8", "vm.toml", 5},
                 in_scope("10.88.1.0/24", "deny@1.1.2.0/24")});
  CHECK_FALSE(p->judge(from("10.88.1.1", "1.1.1.1")).allowed());
  CHECK(p->judge(from("10.88.1.1", "1.1.2.1")).allowed());
  CHECK(p->judge(from("192.168.127.2", "1.1.1.1")).allowed());
}

TEST_CASE("of nested scopes all count") {
  auto p =
      made({in_scope("10.88.1.0/24", "deny@1.1.1.1"), in_scope("10.88.0.0/16", "allow@public")});
  CHECK_FALSE(p->judge(from("10.88.1.1", "1.1.1.1")).allowed());
  CHECK(p->judge(from("10.88.1.1", "1.1.1.2")).allowed());
  CHECK(p->judge(from("10.88.2.1", "1.1.1.1")).allowed());
}

TEST_CASE("names resolve, and answers are kept, for whom a rule needs them") {
  auto p = made({in_scope("10.88.0.0/16", "allow@a.com:tcp:443")});
  CHECK(p->judge_lookup(name("a.com"), ip("10.88.0.5")).allowed());
  CHECK_FALSE(p->judge_lookup(name("b.com"), ip("10.88.0.5")).allowed());
  CHECK_FALSE(p->judge_lookup(name("a.com"), ip("192.168.127.2")).allowed());
  CHECK(p->answer_allowed(name("a.com"), ip("1.1.1.1"), ip("10.88.0.5")));
  CHECK_FALSE(p->answer_allowed(name("a.com"), ip("1.1.1.1"), ip("192.168.127.2")));
  Query dns = from("10.88.0.5", "192.168.127.1", 53);
  CHECK(p->judge(dns).allowed());
  dns.inner = ip("192.168.127.2");
  CHECK_FALSE(p->judge(dns).allowed());
}

TEST_CASE("a name that a container looked up opens nothing to one that no rule gives the name to") {
  auto p = made({in_scope("10.88.0.5/32", "allow@a.com")});
  NameIndex names;
  names.bind(name("a.com"), ip("1.1.1.1"), {}, {});
  CHECK(p->judge(from("10.88.0.5", "1.1.1.1", 443, &names)).allowed());
  CHECK_FALSE(p->judge(from("10.88.0.6", "1.1.1.1", 443, &names)).allowed());
  CHECK(p->judge_named(from("10.88.0.5", "1.1.1.1", 443, &names), name("a.com")).allowed());
  CHECK_FALSE(p->judge_named(from("10.88.0.6", "1.1.1.1", 443, &names), name("a.com")).allowed());
}

TEST_CASE("a deny of a name in a scope makes the first flight decide there alone") {
  auto p = made({in_scope("10.88.0.0/16", "deny@a.com"), {"allow@public", "vm.toml", 5}});
  CHECK(p->judge(from("10.88.0.5", "1.1.1.1")).name_is_decisive);
  CHECK_FALSE(p->judge(from("192.168.127.2", "1.1.1.1")).name_is_decisive);
}

TEST_CASE("ingress is judged by where it goes") {
  auto p = made({in_scope("10.88.0.0/16", "deny:ingress@any")});
  Query query{.direction = Direction::ingress, .remote = ip("5.6.7.8"), .port = Port(80)};
  query.inner = ip("10.88.0.5");
  CHECK_FALSE(p->judge(query).allowed());
  query.inner = ip("192.168.127.2");
  CHECK(p->judge(query).allowed());
}

TEST_CASE("a denial names the scope of its rule") {
  auto p = made({in_scope("10.88.0.0/16", "deny@1.1.1.1")});
  CHECK(p->describe(p->judge(from("10.88.0.5", "1.1.1.1")).verdict) ==
        "rule \"deny@1.1.1.1\" (vm.toml, line 4, for 10.88.0.0/16)");
}

TEST_CASE("the one-line policy says what a rule is for") {
  auto p = made({in_scope("10.88.0.0/16", "allow@1.1.1.1")});
  CHECK(p->summary() == "allow@1.1.1.1 for 10.88.0.0/16, else deny egress, allow ingress; dns on");
}

TEST_CASE("a rule hides only what counts in its own scope or within it") {
  RuleSource all{"allow@1.0.0.0/8", "vm.toml", 5};
  CHECK(made({all, in_scope("10.88.0.0/16", "deny@1.1.1.1")})->warnings().size() == 1);
  CHECK(made({in_scope("10.88.0.0/16", "deny@1.0.0.0/8"), all})->warnings().empty());
  CHECK(
      made({in_scope("10.88.0.0/16", "deny@1.0.0.0/8"), in_scope("10.88.1.0/24", "allow@1.1.1.1")})
          ->warnings()
          .size() == 1);
  CHECK(made({in_scope("10.88.0.0/16", "deny@1.0.0.0/8"), in_scope("10.0.0.0/8", "allow@1.1.1.1")})
            ->warnings()
            .empty());
}

TEST_CASE("the number of scopes is bounded") {
  std::vector<Rule> rules;
  for (int i = 0; i <= Policy::kMaxScopes; ++i) {
    rules.push_back({.scope = IpPrefix(IpAddress::v4(static_cast<std::uint32_t>(i)), 32)});
  }
  auto compiled = Policy::compile(rules, test_host());
  REQUIRE_FALSE(compiled);
  CHECK(compiled.status().code() == StatusCode::exhausted);
  rules.pop_back();
  CHECK(Policy::compile(rules, test_host()));
}

}  // namespace
}  // namespace sluice::policy
