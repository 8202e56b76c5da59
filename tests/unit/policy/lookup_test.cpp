#include "policy/support.h"

namespace sluice::policy {
namespace {

TEST_CASE("a policy whose allows are all names resolves no other name") {
  auto p = policy("allow@github.com,allow@*.example.net:tcp:80");
  CHECK(resolves(*p, "github.com"));
  CHECK(resolves(*p, "mirror.example.net"));
  CHECK(resolves(*p, "example.net"));
  CHECK_FALSE(resolves(*p, "secret.attacker.com"));
  CHECK_FALSE(resolves(*p, "api.github.com"));
  CHECK_FALSE(resolves(*p, ""));
}

TEST_CASE("a rule on dns, or ingress rules, let no name resolve") {
  CHECK_FALSE(resolves(*policy("allow@dns"), "a.com"));
  CHECK_FALSE(resolves(*policy("allow:ingress@any"), "a.com"));
  CHECK_FALSE(resolves(*policy("allow:ingress@a.com"), "a.com"));
}

TEST_CASE("a policy without rules resolves nothing") {
  CHECK_FALSE(resolves(*policy(""), "a.com"));
}

TEST_CASE("an allow on an address, block or group lets every name resolve") {
  for (const char* text :
       {"allow@public", "allow@10.0.0.0/8", "allow@1.2.3.4:tcp:443", "allow@any"}) {
    INFO(text);
    CHECK(resolves(*policy(text), "any.name.at.all"));
  }
}

TEST_CASE("name rules and any decide a lookup in rule order") {
  CHECK_FALSE(resolves(*policy("deny@*.evil.com,allow@public"), "x.evil.com"));
  CHECK(resolves(*policy("deny@*.evil.com,allow@public"), "good.com"));
  CHECK(resolves(*policy("allow@ok.evil.com,deny@*.evil.com,allow@public"), "ok.evil.com"));
  CHECK(resolves(*policy("allow@public,deny@*.evil.com"), "x.evil.com"));
  CHECK_FALSE(resolves(*policy("allow@a.com,deny@any,allow@public"), "b.com"));
  CHECK(resolves(*policy("allow@a.com,deny@any"), "a.com"));
}

TEST_CASE("a port or protocol on a name rule restricts connections, never the lookup") {
  CHECK(resolves(*policy("allow@a.com:tcp:443"), "a.com"));
  CHECK(resolves(*policy("deny@a.com:tcp:80,allow@public"), "a.com"));
  CHECK(resolves(*policy("deny@a.com:udp,allow@a.com"), "a.com"));
  CHECK(resolves(*policy("deny@any:tcp:25,allow@a.com"), "a.com"));
  CHECK_FALSE(resolves(*policy("deny@any,allow@a.com"), "a.com"));
}

TEST_CASE("a deny on an address or group never matches a lookup") {
  CHECK(resolves(*policy("deny@private,deny@1.2.3.4,deny@dns:tcp,allow@a.com"), "a.com"));
}

TEST_CASE("a lookup that nothing matches gets the default") {
  auto open = policy("deny@a.com", {.egress_default = Action::allow});
  CHECK(resolves(*open, "b.com"));
  CHECK_FALSE(resolves(*open, "a.com"));
  CHECK(open->judge_lookup(name("b.com")).rule == -1);
  CHECK(open->judge_lookup(name("a.com")).rule == 0);
}

bool keeps(std::string_view text, std::string_view asked, std::string_view address) {
  return policy(text)->answer_allowed(name(asked), ip(address));
}

TEST_CASE("answers of a name that only addresses allow are filtered to those addresses") {
  CHECK(keeps("allow@public", "a.com", "1.1.1.1"));
  CHECK_FALSE(keeps("allow@public", "a.com", "10.0.0.1"));
  CHECK(keeps("allow@10.0.0.0/8:tcp:443", "a.com", "10.0.0.1"));
  CHECK_FALSE(keeps("allow@10.0.0.0/8", "a.com", "1.1.1.1"));
  CHECK_FALSE(keeps("deny@1.1.1.0/24,allow@public", "a.com", "1.1.1.1"));
  CHECK(keeps("deny@1.1.1.0/24:tcp:25,allow@public", "a.com", "1.1.1.1"));
}

TEST_CASE("an allowed public name can't be rebound to the inside") {
  for (const char* inside : {"10.0.0.1",
                             "127.0.0.1",
                             "::1",
                             "169.254.169.254",
                             "fd00:ec2::254",
                             "192.168.127.1",
                             "192.168.127.3",
                             "fd5a::1",
                             "8.8.4.4",
                             "2600:1::20",
                             "2600:1::99",
                             "0.0.0.0",
                             "::",
                             "::ffff:10.0.0.1",
                             "::ffff:127.0.0.1",
                             "64:ff9b::7f00:1",
                             "2002:7f00:1::",
                             "::127.0.0.1",
                             "198.18.0.1",
                             "224.0.0.1",
                             "2001:0:4136:e378:8000:63bf:f5ff:fffe",
                             "2606:4700::5efe:10.0.0.1"}) {
    INFO(inside);
    CHECK_FALSE(keeps("allow@a.com", "a.com", inside));
    CHECK_FALSE(keeps("allow@a.com,allow@public", "a.com", inside));
    CHECK_FALSE(keeps("allow@public", "a.com", inside));
  }
  CHECK(keeps("allow@a.com", "a.com", "1.1.1.1"));
  CHECK_FALSE(keeps("deny@b.com", "a.com", "10.0.0.1"));
}

TEST_CASE("an address rule lets a name point inside") {
  CHECK(keeps("allow@a.com,allow@10.0.0.0/8", "a.com", "10.0.0.1"));
  CHECK(keeps("allow@a.com,allow@private:tcp:443", "a.com", "10.0.0.1"));
  CHECK(keeps("allow@any", "a.com", "10.0.0.1"));
  CHECK_FALSE(keeps("allow@a.com,deny@private,allow@any", "a.com", "10.0.0.1"));
}

TEST_CASE("a name rule keeps public answers that no address rule before it denies") {
  CHECK(keeps("allow@10.0.0.0/8,allow@a.com", "a.com", "1.1.1.1"));
  CHECK_FALSE(keeps("deny@1.1.1.1,allow@a.com", "a.com", "1.1.1.1"));
  CHECK(keeps("allow@a.com,deny@1.1.1.1", "a.com", "1.1.1.1"));
  CHECK_FALSE(keeps("deny@a.com,allow@public", "a.com", "1.1.1.1"));
}

TEST_CASE("a default of allow keeps public answers only") {
  auto open = policy("", {.egress_default = Action::allow});
  CHECK(open->answer_allowed(name("a.com"), ip("1.1.1.1")));
  CHECK_FALSE(open->answer_allowed(name("a.com"), ip("10.0.0.1")));
}

}  // namespace
}  // namespace sluice::policy
