#include "policy/rule_parser.h"

#include "policy/support.h"

namespace sluice::policy {
namespace {

std::string error_of(std::string text, std::optional<Action> shorthand = std::nullopt) {
  auto parsed = parse_rules({std::move(text), "--rule", 0, shorthand});
  REQUIRE_FALSE(parsed);
  CHECK(parsed.status().code() == StatusCode::invalid_argument);
  return parsed.status().message();
}

TEST_CASE("every form of the rule language is read and written back") {
  for (const char* text : {"allow@any",
                           "deny@public",
                           "allow@private",
                           "allow@loopback",
                           "deny@link-local",
                           "deny@metadata",
                           "allow@multicast",
                           "allow@host",
                           "deny@guests",
                           "allow@dns",
                           "allow@example.com",
                           "allow@*.example.com",
                           "deny:ingress@10.0.0.0/8:tcp:8080",
                           "allow:any@[2001:db8::]/32:udp:8000-8100",
                           "allow@[2001:db8::1]",
                           "allow@1.2.3.4:icmp",
                           "allow@github.com:tcp:443",
                           "deny@any:any:25",
                           "deny!@metadata",
                           "deny!:any@10.0.0.0/8:tcp:22",
                           "allow@localhost.",
                           "allow@_dns.example.com"}) {
    INFO(text);
    CHECK(rules(text).at(0).to_string() == text);
  }
}

TEST_CASE("spellings that mean the same are one rule") {
  CHECK(rules("allow:egress@a.com:any:any").at(0).to_string() == "allow@a.com");
  CHECK(rules("allow@GitHub.COM.").at(0).to_string() == "allow@github.com");
  CHECK(rules("allow@[2001:db8::/32]").at(0).to_string() == "allow@[2001:db8::]/32");
  CHECK(rules("allow@1.2.3.4/32:tcp:any").at(0).to_string() == "allow@1.2.3.4:tcp");
  CHECK(rules("allow@a.com:tcp:80-80").at(0).to_string() == "allow@a.com:tcp:80");
}

TEST_CASE("a list with commas and blanks is several rules in order") {
  auto list = rules("deny@metadata, allow@*.example.net:tcp:80 ,allow@public");
  REQUIRE(list.size() == 3);
  CHECK(list[0].to_string() == "deny@metadata");
  CHECK(list[1].to_string() == "allow@*.example.net:tcp:80");
  CHECK(list[2].to_string() == "allow@public");
}

TEST_CASE("--allow NAME is allow@NAME, with protocol and port too") {
  auto allow = parse_rules({"github.com,*.pypi.org:tcp:443", "--allow", 0, Action::allow});
  REQUIRE(allow);
  CHECK(allow->at(0).to_string() == "allow@github.com");
  CHECK(allow->at(1).to_string() == "allow@*.pypi.org:tcp:443");
  auto deny = parse_rules({"private", "--deny", 0, Action::deny});
  REQUIRE(deny);
  CHECK(deny->at(0).to_string() == "deny@private");
}

TEST_CASE("a bad rule is an error with line, column, the offending text and the nearest spelling") {
  auto parsed = parse_rules({"allow@public, alow@github.com", "policy.toml", 12});
  REQUIRE_FALSE(parsed);
  CHECK(parsed.status().message() ==
        "policy.toml, line 12, column 15: 'alow' is not an action; did you mean 'allow'?");
}

TEST_CASE("each part of a rule has its own error") {
  struct Case {
    const char* text;
    const char* message;
  };
  for (const Case& c : std::initializer_list<Case>{
           {"allow:out@any", "column 7: 'out' is not a direction; one of egress, ingress, any"},
           {"allow:ingres@any", "column 7: 'ingres' is not a direction; did you mean 'ingress'?"},
           {"allow@pubic", "column 7: 'pubic' is no group; did you mean 'public'?"},
           {"allow@meta", "did you mean 'metadata'?"},
           {"allow@a.com:tpc:443", "column 13: 'tpc' is not a protocol; did you mean 'tcp'?"},
           {"allow@a.com:443", "column 13: '443' is not a protocol; did you mean 'tcp:443'?"},
           {"allow@a.com:tcp:0", "column 17: '0' is not a port"},
           {"allow@a.com:tcp:70000", "'70000' is not a port"},
           {"allow@a.com:tcp:90-80", "'90-80' runs backwards; did you mean '80-90'?"},
           {"allow@a.com:tcp:*", "'*' is not a port; did you mean 'any'?"},
           {"allow@a.com:tcp:80:90", "'80:90' is not a port"},
           {"allow@a.com:icmp:80", "'80' follows icmp, which has no ports"},
           {"allow@*", "'*' is not a target; did you mean 'any'?"},
           {"allow@*.com", "'*.com' covers all of 'com'"},
           {"allow@a.*.com", "neither a group nor a name"},
           {"allow@1.2.3", "'1.2.3' is not an address"},
           {"allow@0x7f.1", "'0x7f.1' is not an address"},
           {"allow@10.0.", "'10.0.' is not an address"},
           {"allow@127.0x1", "'127.0x1' is not an address"},
           {"allow@2130706433", "'2130706433' is not an address"},
           {"allow@10.0.0.0/33", "'10.0.0.0/33' is not an address or block; its length is 0 to 32"},
           {"allow@10.0.0.5/8", "did you mean '10.0.0.0/8' or '10.0.0.5'?"},
           {"allow@2001:db8::1", "did you mean '[2001:db8::1]'?"},
           {"allow@2001:db8::/32", "did you mean '[2001:db8::]/32'?"},
           {"allow@2001:db8::1:tcp:443", "IPv6 goes in brackets"},
           {"allow@[2001:db8::1", "lacks the closing ']'"},
           {"allow@[1.2.3.4]", "is not an IPv6 address or block"},
           {"allow@https://github.com/x", "did you mean 'github.com'?"},
           {"allow@b\xc3\xbc.de", "'b\\xc3\\xbc.de' is neither a group nor a name"},
           {"allow@set:mirrors", "column 11: 'mirrors' is not a set; none is defined"},
           {"github.com", "did you mean 'allow@github.com'?"},
           {"allow github.com", "lacks '@' and a target"},
           {"allow@", "target is missing"},
           {"allow!@a.com", "column 1: 'allow!' is fatal, which only a deny can be"},
           {"deny!! @a.com", "is not an action"},
           {"deny!", "lacks '@' and a target"},
           {"allow@a.com,,deny@any", "column 13: '' a rule is missing"},
           {"", "column 1: '' a rule is missing"}}) {
    INFO(c.text);
    CHECK_THAT(error_of(c.text), Catch::Contains(c.message));
  }
}

TEST_CASE("a whole rule after --allow is an error that shows the flag to use") {
  CHECK_THAT(error_of("deny@a.com", Action::allow), Catch::Contains("write --rule 'deny@a.com'"));
}

TEST_CASE("a wide suffix needs --allow-wide-suffix") {
  auto wide = parse_rules({"allow@*.com", "--rule"}, {.wide_suffix = true});
  REQUIRE(wide);
  CHECK(wide->at(0).to_string() == "allow@*.com");
  CHECK_FALSE(parse_rules({"allow@*.", "--rule"}, {.wide_suffix = true}));
}

TEST_CASE("an error quotes hostile text harmlessly and not at length") {
  std::string message = error_of("allow@" + std::string(100'000, 'x') + "\n\x1b[2K");
  CHECK(message.size() < 400);
  for (const char* text : {"allow@a\nb.com", "a\nb", "allow@http://a\nb/", "allow@a.com:80-\n"}) {
    CHECK(error_of(text).find('\n') == std::string::npos);
  }
}

}  // namespace
}  // namespace sluice::policy
