#include "policy/support.h"

namespace sluice::policy {
namespace {

TEST_CASE("the compiled policy and a slow walk down the rules agree on everything") {
  for (std::uint32_t seed = 0; seed < 5000; ++seed) {
    World world(seed);
    auto rules = world.rules();
    CompileOptions options;
    if (world.below(4) == 0) options.egress_default = Action::allow;
    if (world.below(4) == 0) options.ingress_default = Action::deny;
    auto compiled = Policy::compile(rules, test_host(), options);
    REQUIRE(compiled);
    const Policy& policy = **compiled;
    Reference reference(rules, test_host(), options);
    NameIndex names;
    world.bind_some(names);
    for (int i = 0; i < 100; ++i) {
      Query query = world.query(names);
      DomainName domain = world.domain();
      if (!agree(policy, reference, query, domain)) {
        Endpoint remote{query.remote, query.port};
        INFO("seed " << seed << ": " << policy.summary() << "; " << to_string(query.protocol) << " "
                     << remote.to_string() << ", " << domain.text());
        CHECK(policy.judge(query).verdict.rule == reference.judge(query).rule);
        CHECK(policy.judge_named(query, domain).verdict.rule ==
              reference.judge_named(query, domain).rule);
        CHECK(policy.judge_lookup(domain, query.inner).rule ==
              reference.judge_lookup(domain, query.inner).rule);
        FAIL();
      }
    }
  }
}

TEST_CASE("a rule that is said never to decide never does") {
  for (std::uint32_t seed = 0; seed < 1000; ++seed) {
    World world(seed);
    auto rules = world.rules();
    auto compiled = Policy::compile(rules, test_host());
    REQUIRE(compiled);
    if ((*compiled)->warnings().empty()) continue;
    Reference reference(rules, test_host(), {});
    NameIndex names;
    for (int i = 0; i < 12; ++i) names.bind(world.domain(), world.address(), {}, {});
    for (int i = 0; i < 100; ++i) {
      Query query{.direction = world.below(2) == 0 ? Direction::ingress : Direction::egress,
                  .protocol = static_cast<Protocol>(world.below(3)),
                  .remote = world.address(),
                  .port = world.port(),
                  .inner = world.inner(),
                  .names = &names};
      // The two halves of an ISATAP address can be in different groups: no warning speaks of those.
      auto embedded = embedded_v4(query.remote);
      if (embedded && !embedded->is_transition) continue;
      int decided = reference.judge(query).rule;
      for (const Warning& warning : (*compiled)->warnings()) {
        INFO("seed " << seed << ": " << (*compiled)->summary() << "; " << warning.text);
        REQUIRE(warning.rule != decided);
      }
    }
  }
}

TEST_CASE("a rule on a set means what rules on its members mean, wherever it stands") {
  for (std::uint32_t seed = 0; seed < 500; ++seed) {
    World world(seed);
    RuleInputs by_set{.profile = "none", .wide_suffix = true};
    RuleInputs by_member{.profile = "none", .wide_suffix = true};
    for (int i = 1 + world.below(5); i > 0; --i) {
      Rule rule = world.rule();
      if (rule.ports.first == Port(0)) rule.ports = {};
      std::string set = "s" + std::to_string(i), members;
      for (int member = 1 + world.below(4); member > 0; --member) {
        do {
          rule.target = world.rule().target;
        } while (std::holds_alternative<Group>(rule.target));
        std::string text = rule.to_string();
        by_member.config.push_back({text, "vm.toml", i, std::nullopt, rule.scope});
        Rule bare{.action = Action::allow, .target = rule.target};
        members += (members.empty() ? "" : ",") + bare.to_string().substr(6);
      }
      std::string text = rule.to_string();
      auto head = text.substr(0, text.find('@'));
      Rule any{.action = rule.action,
               .is_fatal = rule.is_fatal,
               .direction = rule.direction,
               .target = Group::any,
               .protocol = rule.protocol,
               .ports = rule.ports};
      std::string tail = any.to_string().substr(head.size() + 4);
      by_set.config.push_back(
          {head + "@set:" + set + tail, "vm.toml", i, std::nullopt, rule.scope});
      by_set.sets.push_back({set, {members, "vm.toml", i}});
    }
    auto a = assemble_rules(by_set);
    auto b = assemble_rules(by_member);
    INFO("seed " << seed << ": " << a.status().message() << b.status().message());
    REQUIRE(a);
    REQUIRE(b);
    REQUIRE(a->size() == b->size());
    bool same = true;
    for (std::size_t i = 0; i < a->size(); ++i) {
      same &= a->at(i).to_string() == b->at(i).to_string() && a->at(i).scope == b->at(i).scope;
    }
    CHECK(same);
  }
}

TEST_CASE("rules survive being written and read again") {
  World world(7);
  for (int i = 0; i < 2000; ++i) {
    Rule rule = world.rule();
    if (rule.ports.first == Port(0)) rule.ports = {};
    auto again = parse_rules({rule.to_string(), "--rule"}, {.wide_suffix = true});
    INFO(rule.to_string() << ": " << again.status().message());
    REQUIRE(again);
    CHECK(again->at(0).to_string() == rule.to_string());
    CHECK(again->at(0).target == rule.target);
  }
}

}  // namespace
}  // namespace sluice::policy
