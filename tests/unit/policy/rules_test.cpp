#include "policy/support.h"

namespace sluice::policy {
namespace {

TEST_CASE("the first rule that matches wins") {
  CHECK_FALSE(allows_tcp(*policy("deny@1.2.3.4,allow@1.2.3.4"), "1.2.3.4"));
  CHECK(allows_tcp(*policy("allow@1.2.3.4,deny@1.2.3.4"), "1.2.3.4"));
  // Order decides, not how narrow a rule is.
  CHECK_FALSE(allows_tcp(*policy("deny@any,allow@1.2.3.4"), "1.2.3.4"));
  CHECK(allows_tcp(*policy("allow@1.0.0.0/8,deny@1.2.3.4"), "1.2.3.4"));
  CHECK_FALSE(allows_tcp(*policy("deny@public,allow@1.2.3.4"), "1.2.3.4"));
}

TEST_CASE("where no rule matches, the default of the direction decides") {
  auto strict = policy("allow@1.2.3.4");
  CHECK(strict->judge(egress(Protocol::tcp, "5.6.7.8", 80)).verdict ==
        Verdict{Action::deny, -1, Basis::default_action});
  CHECK(strict->judge({.direction = Direction::ingress, .remote = ip("5.6.7.8"), .port = Port(80)})
            .allowed());
  auto open =
      policy("deny@1.2.3.4", {.egress_default = Action::allow, .ingress_default = Action::deny});
  CHECK(allows_tcp(*open, "5.6.7.8"));
  CHECK_FALSE(open->judge({.direction = Direction::ingress, .remote = ip("5.6.7.8")}).allowed());
}

TEST_CASE("a rule is about its direction only") {
  auto p = policy("deny:ingress@5.0.0.0/8:tcp:8080,deny:any@6.0.0.0/8,allow@any");
  auto ingress = [&](std::string_view from, std::uint16_t port) {
    return p->judge({.direction = Direction::ingress, .remote = ip(from), .port = Port(port)})
        .allowed();
  };
  CHECK_FALSE(ingress("5.6.7.8", 8080));
  CHECK(ingress("5.6.7.8", 8081));
  CHECK_FALSE(ingress("6.6.7.8", 8081));
  CHECK(allows_tcp(*p, "5.6.7.8", 8080));
  CHECK_FALSE(allows_tcp(*p, "6.6.7.8", 8080));
}

TEST_CASE("protocol and port range restrict a rule, both ends included") {
  auto p = policy("allow@1.2.3.4:tcp:8000-8100,allow@1.2.3.4:udp");
  CHECK_FALSE(allows_tcp(*p, "1.2.3.4", 7999));
  CHECK(allows_tcp(*p, "1.2.3.4", 8000));
  CHECK(allows_tcp(*p, "1.2.3.4", 8100));
  CHECK_FALSE(allows_tcp(*p, "1.2.3.4", 8101));
  CHECK(p->judge(egress(Protocol::udp, "1.2.3.4", 9)).allowed());
  CHECK_FALSE(p->judge(egress(Protocol::icmp, "1.2.3.4")).allowed());
}

TEST_CASE("a rule with ports is not about ICMP") {
  CHECK_FALSE(
      policy("allow@1.2.3.4:any:1-65535")->judge(egress(Protocol::icmp, "1.2.3.4")).allowed());
  CHECK(policy("allow@1.2.3.4:icmp")->judge(egress(Protocol::icmp, "1.2.3.4")).allowed());
  CHECK(policy("allow@1.2.3.4")->judge(egress(Protocol::icmp, "1.2.3.4")).allowed());
}

TEST_CASE("port 65535 and overlapping ranges are told apart") {
  auto p = policy("deny@any:tcp:65535,deny@any:tcp:100-200,allow@any:tcp:150-300");
  CHECK_FALSE(allows_tcp(*p, "1.1.1.1", 65535));
  CHECK_FALSE(allows_tcp(*p, "1.1.1.1", 150));
  CHECK(allows_tcp(*p, "1.1.1.1", 201));
  CHECK_FALSE(allows_tcp(*p, "1.1.1.1", 301));
}

TEST_CASE("the default policy opens the internet and closes private, host and metadata") {
  auto assembled = assemble_rules({});
  REQUIRE(assembled);
  auto compiled = Policy::compile(*assembled, test_host());
  REQUIRE(compiled);
  const Policy& p = **compiled;
  CHECK(allows_tcp(p, "1.1.1.1"));
  CHECK(allows_tcp(p, "2606:4700::1111"));
  CHECK(allows_tcp(p, "64:ff9b::1.1.1.1"));
  for (const char* closed : {"10.0.0.1",
                             "192.168.1.20",
                             "8.8.4.4",
                             "2600:1::20",
                             "2600:1::99",
                             "192.168.127.1",
                             "192.168.127.254",
                             "192.168.127.3",
                             "fd5a::1",
                             "169.254.169.254",
                             "fd00:ec2::254",
                             "100.100.100.200",
                             "168.63.129.16",
                             "127.0.0.1",
                             "::1",
                             "0.0.0.0",
                             "255.255.255.255",
                             "::ffff:10.0.0.1",
                             "::ffff:127.0.0.1",
                             "64:ff9b::10.0.0.1",
                             "2002:a00:1::1",
                             "::ffff:169.254.169.254",
                             "::10.0.0.1",
                             "224.0.0.1"}) {
    INFO(closed);
    CHECK_FALSE(allows_tcp(p, closed));
  }
  CHECK(p.judge(egress(Protocol::udp, "192.168.127.1", 53)).allowed());
  CHECK(p.judge(egress(Protocol::udp, "fd5a::1", 53)).allowed());
}

TEST_CASE("private does not open the gateway, the guests or metadata, but denies them") {
  auto open = policy("allow@private");
  CHECK(allows_tcp(*open, "10.0.0.1"));
  CHECK(allows_tcp(*open, "8.8.4.4"));
  auto closed = policy("deny@private,allow@any");
  for (const char* inside : {"192.168.127.1", "192.168.127.3", "100.100.100.200", "10.0.0.1"}) {
    INFO(inside);
    CHECK((!allows_tcp(*open, inside) || std::string(inside) == "10.0.0.1"));
    CHECK_FALSE(allows_tcp(*closed, inside));
  }
}

TEST_CASE("host opens the host's loopback behind gateway and alias, and its own addresses") {
  auto p = policy("allow@host:tcp:8080");
  CHECK(allows_tcp(*p, "192.168.127.1", 8080));
  CHECK(allows_tcp(*p, "192.168.127.254", 8080));
  CHECK(allows_tcp(*p, "8.8.4.4", 8080));
  CHECK_FALSE(allows_tcp(*p, "192.168.127.1", 22));
  CHECK_FALSE(allows_tcp(*p, "192.168.1.1", 8080));
}

TEST_CASE("a block around the gateway does not open the host's loopback") {
  CHECK_FALSE(allows_tcp(*policy("allow@192.168.0.0/16"), "192.168.127.1"));
  CHECK_FALSE(allows_tcp(*policy("allow@0.0.0.0/0"), "192.168.127.254"));
  CHECK(allows_tcp(*policy("allow@192.168.127.1"), "192.168.127.1"));
  CHECK_FALSE(allows_tcp(*policy("deny@192.168.0.0/16,allow@any"), "192.168.127.1"));
}

TEST_CASE("a block of IPv6 says nothing of the IPv4 address inside") {
  auto open = policy("allow@[::]/0");
  CHECK(allows_tcp(*open, "2606::1"));
  CHECK_FALSE(allows_tcp(*open, "::ffff:127.0.0.1"));
  CHECK_FALSE(allows_tcp(*open, "64:ff9b::10.0.0.1"));
  CHECK(allows_tcp(*policy("allow@[64:ff9b::]/96"), "64:ff9b::10.0.0.1"));
  CHECK(allows_tcp(*policy("allow@10.0.0.0/8"), "::ffff:10.0.0.1"));
  CHECK_FALSE(allows_tcp(*policy("deny@10.0.0.0/8,allow@any"), "2002:a00:1::"));
  CHECK_FALSE(allows_tcp(*policy("deny@[::]/0,allow@any"), "::ffff:1.1.1.1"));
}

TEST_CASE("the gateway's DNS ports are open wherever a rule needs names") {
  auto dns = [](std::string_view text, std::uint16_t port = 53,
                std::string_view at = "192.168.127.1") {
    return policy(text)->judge(egress(Protocol::udp, at, port));
  };
  CHECK(dns("allow@example.com").verdict == Verdict{Action::allow, -1, Basis::dns_service});
  CHECK(dns("allow@example.com", 853).allowed());
  CHECK(dns("allow@example.com,deny@any").allowed());
  CHECK(dns("deny@host,allow@public").allowed());
  CHECK_FALSE(dns("allow@example.com", 54).allowed());
  CHECK_FALSE(dns("allow@example.com", 53, "192.168.127.254").allowed());
  CHECK_FALSE(dns("").allowed());
  CHECK_FALSE(dns("deny@any").allowed());
  CHECK_FALSE(dns("allow:ingress@any").allowed());
}

TEST_CASE("a rule on dns decides first on the gateway's DNS ports") {
  auto p = policy("allow@example.com,deny@dns:tcp");
  CHECK_FALSE(p->judge(egress(Protocol::tcp, "192.168.127.1", 53)).allowed());
  CHECK(p->judge(egress(Protocol::udp, "192.168.127.1", 53)).allowed());
  CHECK(policy("deny@any,allow@dns")->judge(egress(Protocol::udp, "192.168.127.1", 53)).allowed());
}

TEST_CASE("a name rule opens only the addresses that the index binds to the name") {
  NameIndex names;
  names.bind(name("www.example.com"), ip("1.2.3.4"), {}, {});
  auto p = policy("allow@*.example.com:tcp:443");
  CHECK(allows_tcp(*p, "1.2.3.4", 443, &names));
  CHECK_FALSE(allows_tcp(*p, "1.2.3.4", 80, &names));
  CHECK_FALSE(allows_tcp(*p, "1.2.3.5", 443, &names));
  CHECK_FALSE(allows_tcp(*p, "1.2.3.4", 443));
}

TEST_CASE("another guest's lookups open nothing") {
  NameIndex mine, theirs;
  theirs.bind(name("example.com"), ip("1.2.3.4"), {}, {});
  auto p = policy("allow@example.com");
  CHECK(allows_tcp(*p, "1.2.3.4", 443, &theirs));
  CHECK_FALSE(allows_tcp(*p, "1.2.3.4", 443, &mine));
}

TEST_CASE("a suffix covers the apex and every depth, label by label") {
  NameIndex names;
  names.bind(name("example.com"), ip("1.0.0.1"), {}, {});
  names.bind(name("a.b.c.d.example.com"), ip("1.0.0.2"), {}, {});
  names.bind(name("badexample.com"), ip("1.0.0.3"), {}, {});
  names.bind(name("com"), ip("1.0.0.4"), {}, {});
  auto p = policy("allow@*.example.com");
  CHECK(allows_tcp(*p, "1.0.0.1", 1, &names));
  CHECK(allows_tcp(*p, "1.0.0.2", 1, &names));
  CHECK_FALSE(allows_tcp(*p, "1.0.0.3", 1, &names));
  CHECK_FALSE(allows_tcp(*p, "1.0.0.4", 1, &names));
}

TEST_CASE("an exact name covers nothing below it") {
  NameIndex names;
  names.bind(name("www.example.com"), ip("1.0.0.1"), {}, {});
  CHECK_FALSE(allows_tcp(*policy("allow@example.com"), "1.0.0.1", 1, &names));
}

TEST_CASE("where an address is bound to a denied and an allowed name, rule order decides") {
  NameIndex names;
  names.bind(name("good.com"), ip("1.0.0.1"), {}, {});
  names.bind(name("bad.com"), ip("1.0.0.1"), {}, {});
  CHECK(allows_tcp(*policy("allow@good.com,deny@bad.com"), "1.0.0.1", 1, &names));
  CHECK_FALSE(allows_tcp(*policy("deny@bad.com,allow@good.com"), "1.0.0.1", 1, &names));
}

TEST_CASE("an address rule before a name rule decides first") {
  NameIndex names;
  names.bind(name("good.com"), ip("10.0.0.1"), {}, {});
  CHECK_FALSE(allows_tcp(*policy("deny@private,allow@good.com"), "10.0.0.1", 1, &names));
}

TEST_CASE("a decision says when a name has a part in it") {
  NameIndex names;
  names.bind(name("good.com"), ip("1.0.0.1"), {}, {});
  auto decide = [&](std::string_view text, Protocol protocol = Protocol::tcp) {
    return policy(text)->judge(egress(protocol, "1.0.0.1", 443, &names));
  };
  CHECK(decide("allow@good.com").name_is_decisive);
  CHECK(decide("allow@good.com").verdict.basis == Basis::name_rule);
  CHECK(decide("deny@bad.com,allow@public").name_is_decisive);
  CHECK_FALSE(decide("deny@bad.com:tcp:80,allow@public").name_is_decisive);
  CHECK_FALSE(decide("allow@public,deny@bad.com").name_is_decisive);
  CHECK_FALSE(decide("allow@public,allow@good.com").name_is_decisive);
  CHECK_FALSE(decide("deny@good.com").name_is_decisive);
  CHECK_FALSE(decide("allow@good.com", Protocol::icmp).name_is_decisive);
}

TEST_CASE("a verdict names the rule with its place") {
  auto compiled = Policy::compile(*parse_rules({"deny@private", "policy.toml", 4}), test_host());
  REQUIRE(compiled);
  const Policy& p = **compiled;
  CHECK(p.describe(p.judge(egress(Protocol::tcp, "10.0.0.1", 1)).verdict) ==
        "rule \"deny@private\" (policy.toml, line 4)");
  CHECK(p.describe(p.judge(egress(Protocol::tcp, "1.1.1.1", 1)).verdict) == "default deny");
  CHECK(policy("allow@a.com")->describe({Action::allow, -1, Basis::dns_service}) ==
        "the gateway's DNS service");
}

TEST_CASE("the effective policy is one line") {
  CHECK(policy("deny@private,allow@github.com:tcp:443")->summary() ==
        "deny@private, allow@github.com:tcp:443, else deny egress, allow ingress; dns on");
  CHECK(policy("")->summary() == "else deny egress, allow ingress; dns off");
}

TEST_CASE("a rule that can never decide is a warning") {
  auto warned = [](std::string_view text) {
    std::vector<int> out;
    auto compiled = policy(text);
    for (const Warning& warning : compiled->warnings()) out.push_back(warning.rule);
    return out;
  };
  using List = std::vector<int>;
  CHECK(warned("allow@any,deny@1.2.3.4") == List{1});
  CHECK(warned("allow@10.0.0.0/8,deny@10.1.0.0/16,deny@10.2.3.4:tcp:80") == List{1, 2});
  CHECK(warned("allow@*.example.com,deny@www.example.com") == List{1});
  CHECK(warned("deny@private,allow@10.0.0.5") == List{1});
  CHECK(warned("allow@a.com:tcp:80-90,deny@a.com:tcp:85") == List{1});
  CHECK(warned("deny@a.com:tcp,allow@a.com") == List{});
  CHECK(warned("deny@a.com:tcp:80,allow@a.com:tcp:80") == List{});  // It still lets a.com resolve.
  CHECK(warned("allow@a.com,deny@b.com,allow@public") == List{});
  CHECK(warned("allow@private,allow@host,allow@192.168.127.1") == List{2});
  CHECK(warned("allow@link-local,allow@169.254.169.254") == List{});
  CHECK_THAT(policy("allow@any,deny@1.2.3.4")->warnings().at(0).text,
             Catch::Contains("'deny@1.2.3.4' never decides"));
}

}  // namespace
}  // namespace sluice::policy
