// A list of rules, a zero byte, and then 20-byte questions. Whatever parses must be written and
// read back unchanged, and the compiled policy must agree with the slow walk on every question.

#include <cstdint>
#include <string>

#include "check.h"
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

void ask(const Policy& policy, const Reference& reference, NameIndex& names, ConstBytes data) {
  Query query{.direction = (data[0] & 1) != 0 ? Direction::ingress : Direction::egress,
              .protocol = static_cast<Protocol>((data[0] >> 1) % 3),
              .remote = IpAddress::from_bytes(data.subspan(4, (data[0] & 0x80) != 0 ? 16 : 4)),
              .port = Port(load_be16(data.data() + 1)),
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
  FUZZ_CHECK(policy.judge_lookup(name) == reference.judge_lookup(name));
  FUZZ_CHECK(policy.answer_allowed(name, query.remote) ==
             reference.answer_allowed(name, query.remote));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ConstBytes input(data, size);
  std::string all(reinterpret_cast<const char*>(data), size);
  std::string text = all.substr(0, all.find('\0'));
  ParseOptions options{.wide_suffix = true};
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
