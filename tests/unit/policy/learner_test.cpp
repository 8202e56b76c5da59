#include "policy/learner.h"

#include <random>

#include "policy/support.h"

namespace sluice::policy {
namespace {

Learner::Flow flow(std::string_view remote, std::uint16_t port, std::vector<std::string> names = {},
                   Protocol protocol = Protocol::tcp) {
  return {protocol, ip(remote), Port(port), true, std::move(names)};
}

std::string list_of(const Learner& learner) {
  std::string out;
  for (const LearnedRule& one : learner.rules()) {
    out += (out.empty() ? "" : ", ") + one.rule.to_string();
  }
  return out;
}

TEST_CASE("a name that was looked up and connected to becomes a rule on the name and its ports") {
  Learner learner;
  learner.saw_lookup(name("github.com"));
  learner.saw_flow(flow("1.1.1.1", 443, {"github.com"}));
  learner.saw_flow(flow("1.1.1.1", 22, {"github.com"}));
  learner.saw_flow(flow("1.1.1.2", 443, {"github.com"}));
  CHECK(list_of(learner) == "allow@github.com:tcp:22, allow@github.com:tcp:443");
  CHECK(learner.rules().at(0).seen == 4);
}

TEST_CASE("an alias that nobody asked for is no rule, the name that was asked for is") {
  Learner learner;
  learner.saw_lookup(name("www.example.com"));
  learner.saw_flow(flow("1.1.1.1", 443, {"edge.cdn.example.net", "www.example.com"}));
  CHECK(list_of(learner) == "allow@www.example.com:tcp:443");
}

TEST_CASE("a name that was only looked up is a rule without ports that says so") {
  Learner learner;
  learner.saw_lookup(name("github.com"));
  CHECK(list_of(learner) == "allow@github.com");
  CHECK_THAT(learner.rules().at(0).note, Catch::Contains("no connection followed"));
}

TEST_CASE("an address without a name is a rule on the address, and so is a name's private one") {
  Learner learner;
  learner.saw_lookup(name("nas.example.com"));
  learner.saw_flow(flow("203.0.113.9", 8080));
  Learner::Flow inside = flow("10.0.0.5", 445, {"nas.example.com"});
  inside.is_public = false;
  learner.saw_flow(inside);
  learner.saw_flow(flow("2001:db9::1", 0, {}, Protocol::icmp));
  CHECK(list_of(learner) ==
        "allow@nas.example.com, allow@10.0.0.5:tcp:445, allow@203.0.113.9:tcp:8080, "
        "allow@[2001:db9::1]:icmp");
}

TEST_CASE("neighbouring ports are a range, and those of both protocols one rule") {
  Learner learner;
  for (std::uint16_t port : {8000, 8001, 8002, 9000}) learner.saw_flow(flow("1.1.1.1", port));
  learner.saw_flow(flow("1.1.1.1", 9000, {}, Protocol::udp));
  CHECK(list_of(learner) == "allow@1.1.1.1:any:9000, allow@1.1.1.1:tcp:8000-8002");
}

TEST_CASE("three names of one parent become a suffix, two do not") {
  Learner learner;
  for (const char* text : {"a.cdn.example.com", "b.cdn.example.com"}) {
    learner.saw_lookup(name(text));
    learner.saw_flow(flow("1.1.1.1", 443, {text}));
  }
  CHECK(list_of(learner) == "allow@a.cdn.example.com:tcp:443, allow@b.cdn.example.com:tcp:443");
  learner.saw_lookup(name("c.cdn.example.com"));
  CHECK(list_of(learner) == "allow@*.cdn.example.com:tcp:443");
  learner.saw_lookup(name("deep.x.cdn.example.com"));
  learner.saw_lookup(name("cdn.example.com"));
  CHECK(list_of(learner) == "allow@*.cdn.example.com:tcp:443");
}

TEST_CASE("no suffix covers what strangers share") {
  for (const char* zone : {"com", "co.uk", "github.io", "s3.amazonaws.com"}) {
    INFO(zone);
    Learner learner;
    for (const char* label : {"a", "b", "c", "d"}) {
      learner.saw_lookup(name(std::string(label) + "." + zone));
    }
    CHECK(learner.rules().size() == 4);
  }
}

TEST_CASE("a scan of ports, names or addresses costs bounded memory and is counted") {
  Learner learner({.names = 3, .addresses = 2, .ports = 4});
  for (std::uint16_t port = 1; port <= 1000; ++port) learner.saw_flow(flow("1.1.1.1", port));
  CHECK(list_of(learner) == "allow@1.1.1.1:tcp");
  CHECK(learner.overflow() == 0);
  for (int i = 0; i < 100; ++i) {
    learner.saw_lookup(name("n" + std::to_string(i) + ".example" + std::to_string(i) + ".com"));
    learner.saw_flow(flow("9.9.9." + std::to_string(i), 80));
  }
  CHECK(learner.rules().size() == 5);
  CHECK(learner.overflow() == 97 + 99);
}

TEST_CASE("under the rules that were learned, all that was seen is allowed") {
  static const char* const domains[] = {"a.com",     "b.a.com",   "c.a.com", "d.a.com",
                                        "x.d.a.com", "y.d.a.com", "z.co.uk", "w.co.uk",
                                        "v.co.uk",   "u.org",     "q.u.org", "github.io"};
  for (std::uint32_t seed = 0; seed < 300; ++seed) {
    std::mt19937 random(seed);
    auto below = [&](int n) { return std::uniform_int_distribution<int>(0, n - 1)(random); };
    Learner learner({.names = 4096, .addresses = 4096, .ports = 3});
    NameIndex names;
    std::vector<DomainName> asked;
    std::vector<Query> flows;
    auto host = test_host();
    GroupMap groups(host);
    for (int i = below(10); i >= 0; --i) {
      DomainName domain = name(domains[below(12)]);
      asked.push_back(domain);
      learner.saw_lookup(domain);
      names.bind(domain, IpAddress::v4(1, 1, 1, static_cast<std::uint8_t>(below(4))), {}, {});
    }
    for (int i = below(20); i >= 0; --i) {
      auto last = static_cast<std::uint8_t>(below(6));
      Query query{
          .protocol = static_cast<Protocol>(below(3)),
          .remote = below(4) == 0 ? IpAddress::v4(10, 0, 0, last) : IpAddress::v4(1, 1, 1, last),
          .port = Port(static_cast<std::uint16_t>(1 + below(6))),
          .names = &names};
      flows.push_back(query);
      bool is_public = groups.groups_of(query.remote).for_allow.has(Group::public_);
      learner.saw_flow(
          {query.protocol, query.remote, query.port, is_public, names.names_of(query.remote, {})});
    }
    std::vector<Rule> rules;
    for (const LearnedRule& one : learner.rules()) rules.push_back(one.rule);
    auto policy = Policy::compile(rules, host);
    REQUIRE(policy);
    INFO("seed " << seed << ": " << (*policy)->summary());
    for (const DomainName& one : asked) CHECK((*policy)->judge_lookup(one).allowed());
    for (const Query& one : flows) CHECK((*policy)->judge(one).allowed());
    CHECK((*policy)->warnings().empty());
  }
}

}  // namespace
}  // namespace sluice::policy
