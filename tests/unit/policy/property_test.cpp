#include <random>

#include "policy/reference.h"
#include "policy/support.h"

namespace sluice::policy {
namespace {

/// Random rules, names and addresses out of a small world, so that they often meet.
class World {
 public:
  explicit World(std::uint32_t seed) : random_(seed) {}

  int below(int n) { return std::uniform_int_distribution<int>(0, n - 1)(random_); }

  IpAddress address() {
    static const std::vector<IpAddress> special = [] {
      std::vector<IpAddress> out;
      for (const char* text : {"192.168.127.1",
                               "192.168.127.254",
                               "192.168.127.3",
                               "fd5a::1",
                               "fd5a::9",
                               "169.254.169.254",
                               "8.8.4.4",
                               "192.168.1.7",
                               "127.0.0.1",
                               "::1",
                               "::ffff:10.0.0.1",
                               "::ffff:192.168.127.1",
                               "64:ff9b::1.1.0.1",
                               "2002:a00:1::",
                               "2600:1::20",
                               "2606::5efe:10.0.0.1",
                               "::1.1.0.1",
                               "0.0.0.0",
                               "255.255.255.255",
                               "::",
                               "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"}) {
        out.push_back(ip(text));
      }
      return out;
    }();
    int kind = below(4);
    if (kind == 0)
      return special[static_cast<std::size_t>(below(static_cast<int>(special.size())))];
    auto byte = [&] { return static_cast<std::uint8_t>(below(3)); };
    if (kind == 1) return IpAddress::v4(10, byte(), byte(), byte());
    if (kind == 2) return IpAddress::v4(1, byte(), byte(), byte());
    std::array<std::uint8_t, 16> bytes{0x26, 0x06};
    bytes[3] = byte();
    bytes[8] = byte();
    bytes[15] = byte();
    return IpAddress::v6(bytes);
  }

  DomainName domain() {
    static const char* const labels[] = {"a", "b", "com", "org"};
    std::string text = labels[2 + below(2)];
    for (int depth = below(4); depth > 0; --depth) {
      text = std::string(labels[below(2)]) + "." + text;
    }
    return name(text);
  }

  Port port() {
    static const std::uint16_t ports[] = {0, 1, 53, 80, 443, 853, 8080, 65534, 65535};
    return Port(ports[below(9)]);
  }

  Rule rule() {
    Rule rule;
    rule.action = below(2) == 0 ? Action::deny : Action::allow;
    int direction = below(10);
    rule.direction = direction < 7   ? RuleDirection::egress
                     : direction < 9 ? RuleDirection::ingress
                                     : RuleDirection::any;
    switch (below(5)) {
      case 0:
        rule.target = static_cast<Group>(below(kGroupCount));
        break;
      case 1:
        rule.target = ExactName{domain()};
        break;
      case 2:
        rule.target = SuffixName{domain()};
        break;
      default: {
        IpAddress base = address();
        rule.target =
            IpPrefix(base, base.bits() - (below(3) == 0 ? below(base.bits() + 1) : below(9)));
      }
    }
    if (below(2) == 0) rule.protocol = static_cast<RuleProtocol>(below(4));
    if (rule.protocol != RuleProtocol::icmp && below(3) == 0) {
      Port a = port(), b = port();
      rule.ports = {std::min(a, b), std::max(a, b)};
    }
    return rule;
  }

  std::vector<Rule> rules() {
    std::vector<Rule> out(static_cast<std::size_t>(below(16)));
    for (Rule& r : out) r = rule();
    return out;
  }

 private:
  std::mt19937 random_;
};

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
    for (int i = world.below(12); i > 0; --i) names.bind(world.domain(), world.address(), {}, {});
    bool agree = true;
    for (int i = 0; i < 100; ++i) {
      Query query{.direction = world.below(4) == 0 ? Direction::ingress : Direction::egress,
                  .protocol = static_cast<Protocol>(world.below(3)),
                  .remote = world.address(),
                  .port = world.port(),
                  .names = world.below(3) == 0 ? nullptr : &names};
      DomainName domain = world.domain();
      agree &= policy.judge(query).verdict == reference.judge(query);
      agree &= policy.judge_lookup(domain) == reference.judge_lookup(domain);
      agree &= policy.answer_allowed(domain, query.remote) ==
               reference.answer_allowed(domain, query.remote);
      if (!agree) {
        Endpoint remote{query.remote, query.port};
        INFO("seed " << seed << ": " << policy.summary() << "; " << to_string(query.protocol) << " "
                     << remote.to_string() << ", " << domain.text());
        CHECK(policy.judge(query).verdict.rule == reference.judge(query).rule);
        CHECK(policy.judge_lookup(domain).rule == reference.judge_lookup(domain).rule);
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
