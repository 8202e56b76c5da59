#include "hostd/presets/presets.h"

#include <catch2/catch.hpp>

#include "policy/rule_parser.h"

using namespace sluice;
using namespace sluice::hostd;

TEST_CASE("every preset allows names alone, each with its protocol and ports, and says what for") {
  CHECK(presets().size() >= 5);
  for (const Preset& preset : presets()) {
    INFO(preset.name);
    CHECK(preset.text.starts_with("# "));
    CHECK(preset.purpose().size() > 20);
    auto texts = preset_rules(preset.name);
    REQUIRE(texts);
    CHECK_FALSE(texts->empty());
    for (const RuleText& text : *texts) {
      INFO(text.text);
      auto rules = policy::parse_rules({text.text, text.where, text.line});
      REQUIRE(rules);
      for (const policy::Rule& rule : *rules) {
        CHECK(rule.action == Action::allow);
        CHECK(rule.direction == policy::RuleDirection::egress);
        CHECK(rule.is_on_name());
        CHECK_FALSE(rule.ports.is_all());
        CHECK(rule.protocol != policy::RuleProtocol::any);
      }
    }
  }
}

TEST_CASE("a rule of a preset knows the preset and its line, past the comments") {
  auto rules = preset_rules("github");
  REQUIRE(rules);
  CHECK(rules->front().where == "preset github");
  CHECK(rules->front().line == 3);
  CHECK(rules->front().origin == RuleOrigin::preset);
}

TEST_CASE("an unknown preset is an error with the nearest name") {
  auto rules = preset_rules("gihtub");
  REQUIRE_FALSE(rules);
  CHECK(rules.status().message() == "'gihtub' is not a preset; did you mean 'github'?");
}
