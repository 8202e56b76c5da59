#include <chrono>

#include <fmt/format.h>

#include "policy/many_rules.h"
#include "policy/support.h"

namespace sluice::policy {
namespace {

// Bounds for a busy machine and a sanitizer build; the goals on an idle one are 50 ms and 1 us.
constexpr auto kCompileBound = std::chrono::seconds(2);
constexpr auto kJudgeBound = std::chrono::microseconds(50);

constexpr int kRounds = 20'000;

struct Timing {
  std::chrono::nanoseconds each{};
  int allowed = 0;
};

template <typename Ask>
Timing time_of(Ask&& ask) {
  Timing timing;
  auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < kRounds; ++i) timing.allowed += ask(i);
  timing.each = (std::chrono::steady_clock::now() - start) / kRounds;
  return timing;
}

TEST_CASE("10,000 rules compile at once and are judged in constant time") {
  bool with_scopes = GENERATE(false, true);
  auto list = many_rules(10'000);
  for (std::size_t i = 0; with_scopes && i < list.size(); i += 3) {
    list[i].scope = IpPrefix(IpAddress::v4(10, 88, 0, static_cast<std::uint8_t>(i % 256)), 28);
  }
  using Clock = std::chrono::steady_clock;
  auto start = Clock::now();
  auto compiled = Policy::compile(list, test_host());
  auto compile_time = Clock::now() - start;
  REQUIRE(compiled);

  ManyNames names(1000);
  const Policy& p = **compiled;
  Timing judge = time_of([&](int i) { return p.judge(names.query(i)).allowed(); });
  Timing named =
      time_of([&](int i) { return p.judge_named(names.query(i), names.name(i)).allowed(); });
  Timing lookup =
      time_of([&](int i) { return p.judge_lookup(names.name(i), names.query(i).inner).allowed(); });
  double compile_ms = std::chrono::duration<double, std::milli>(compile_time).count();
  fmt::print(
      "10,000 rules{}: compile {:.1f} ms, judge {} ns, judge_named {} ns, judge_lookup {} ns\n",
      with_scopes ? ", a third in 16 scopes" : "", compile_ms, judge.each.count(),
      named.each.count(), lookup.each.count());
  CHECK(compile_time < kCompileBound);
  for (const Timing& one : {judge, named, lookup}) {
    CHECK(one.each < kJudgeBound);
    CHECK((with_scopes || one.allowed == kRounds));
  }
}

TEST_CASE("10,000 rules on one target compile at once") {
  std::string text;
  for (int i = 0; i < 5000; ++i) {
    text += fmt::format("deny@any:tcp:{},allow@any:tcp:{}-65535,", 2 * i + 1, i + 1);
  }
  auto list = rules(text + "deny@any");
  auto start = std::chrono::steady_clock::now();
  REQUIRE(Policy::compile(list, test_host()));
  CHECK(std::chrono::steady_clock::now() - start < kCompileBound);
}

TEST_CASE("blocks nested in each other to the last bit compile and judge") {
  std::vector<Rule> nested;
  IpAddress address = ip("2606:4700::1111");
  for (int length = 0; length <= 128; ++length) {
    nested.push_back({.action = Action::deny,
                      .target = IpPrefix(address, 128 - length),
                      .protocol = RuleProtocol::tcp,
                      .ports = {Port(1), Port(1)}});
  }
  nested.push_back({.action = Action::allow, .target = IpPrefix(address, 3)});
  auto compiled = Policy::compile(nested, test_host());
  REQUIRE(compiled);
  CHECK(allows_tcp(**compiled, "2606:4700::1111", 2));
  CHECK_FALSE(allows_tcp(**compiled, "2606:4700::1111", 1));
}

}  // namespace
}  // namespace sluice::policy
