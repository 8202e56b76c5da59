// A list of rules, a zero byte, and then 20-byte questions. Whatever parses must be written and
// read back unchanged, and the compiled policy must agree with the slow walk on every question.

#include <cstdint>
#include <optional>
#include <string>

#include "check.h"
#include "policy/named_sets.h"
#include "policy/reference.h"
#include "policy/rule_parser.h"

using namespace sluice;
using namespace sluice::policy;

namespace {

constexpr std::size_t kQuestionBytes = 20;

HostView host_view() {
  return {.addresses = {IpAddress::v4(192, 168, 1, 20)},
          .on_link = {IpPrefix(IpAddress::v4(192, 168, 1, 0), 24)},
          .gateways = {IpAddress::v4(192, 168, 127, 1)},
          .host_aliases = {IpAddress::v4(192, 168, 127, 254)},
          .guest_subnets = {IpPrefix(IpAddress::v4(192, 168, 127, 0), 24)}};
}

/// Every third rule is for one container, and every fifth for the network around it.
void give_scopes(std::vector<Rule>& rules) {
  for (std::size_t i = 0; i < rules.size(); ++i) {
    if (i % 3 == 1) rules[i].scope = IpPrefix(IpAddress::v4(10, 88, 1, 5), 32);
    if (i % 5 == 4) rules[i].scope = IpPrefix(IpAddress::v4(10, 88, 0, 0), 16);
  }
}

std::optional<IpAddress> inner_of(std::uint8_t bits) {
  switch ((bits >> 3) & 3) {
    case 0:
      return std::nullopt;
    case 1:
      return IpAddress::v4(192, 168, 127, 2);
    case 2:
      return IpAddress::v4(10, 88, 1, 5);
    default:
      return IpAddress::v4(10, 88, 2, 5);
  }
}

void ask(const Policy& policy, const Reference& reference, NameIndex& names, ConstBytes data) {
  Query query{.direction = (data[0] & 1) != 0 ? Direction::ingress : Direction::egress,
              .protocol = static_cast<Protocol>((data[0] >> 1) % 3),
              .remote = IpAddress::from_bytes(data.subspan(4, (data[0] & 0x80) != 0 ? 16 : 4)),
              .port = Port(load_be16(data.data() + 1)),
              .inner = inner_of(data[0]),
              .names = &names};
  // The names to ask for are those of the rules, and what lies above and below them.
  DomainName name;
  if (!policy.rules().empty()) {
    const Rule& rule = policy.rules()[data[3] % policy.rules().size()];
    if (const auto* exact = std::get_if<ExactName>(&rule.target)) name = exact->name;
    if (const auto* suffix = std::get_if<SuffixName>(&rule.target)) name = suffix->zone;
    if (auto below = DomainName::parse("x." + name.text()); below && (data[3] & 0x80) != 0) {
      name = *below;
    }
    if ((data[3] & 0x40) != 0) name = name.parent();
    if ((data[0] & 0x40) != 0) names.bind(name, query.remote, {}, {});
  }
  FUZZ_CHECK(policy.judge(query).verdict == reference.judge(query));
  FUZZ_CHECK(policy.judge_named(query, name).verdict == reference.judge_named(query, name));
  FUZZ_CHECK(policy.judge_lookup(name, query.inner) == reference.judge_lookup(name, query.inner));
  FUZZ_CHECK(policy.answer_allowed(name, query.remote, query.inner) ==
             reference.answer_allowed(name, query.remote, query.inner));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ConstBytes input(data, size);
  std::string all(reinterpret_cast<const char*>(data), size);
  std::string text = all.substr(0, all.find('\0'));
  NamedSets sets;
  for (const char* members : {"a.com,*.b.com", "10.0.0.0/8,[2001:db8::]/32"}) {
    FUZZ_CHECK(sets.add("s", {members, "fuzz", 1}));
  }
  ParseOptions options{.wide_suffix = true, .sets = &sets};
  auto rules = parse_rules({text, "fuzz", 1}, options);
  if (!rules) {
    FUZZ_CHECK(rules.status().message().find('\n') == std::string::npos);
    return 0;
  }
  for (const Rule& rule : *rules) {
    auto again = parse_rules({rule.to_string(), "fuzz", 1}, options);
    FUZZ_CHECK(again && again->size() == 1 && again->at(0).target == rule.target);
    FUZZ_CHECK(again->at(0).to_string() == rule.to_string());
  }
  give_scopes(*rules);
  auto policy = Policy::compile(*rules, host_view());
  FUZZ_CHECK(policy);
  Reference reference(*rules, host_view(), {});
  NameIndex names;
  ConstBytes rest = input.subspan(std::min(size, text.size() + 1));
  for (; rest.size() >= kQuestionBytes; rest = rest.subspan(kQuestionBytes)) {
    ask(**policy, reference, names, rest);
  }
  return 0;
}
