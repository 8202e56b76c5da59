#include "core/inspector.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <tuple>

#include "dns/record_print.h"

#include "core/rule_info.h"

namespace sluice::core {

namespace {

constexpr std::string_view kForms =
    "; the forms are 'tcp HOST:PORT', 'udp HOST:PORT', 'icmp HOST', 'dns NAME' and 'ingress "
    "tcp|udp CLIENT:PORT', each with 'from ADDRESS' behind it or not";

Status bad(std::string_view question, std::string_view why) {
  return Status(StatusCode::invalid_argument, fmt::format("'{}' {}{}", question, why, kForms));
}

std::string_view next_word(std::string_view& text) {
  auto start = std::min(text.find_first_not_of(' '), text.size());
  text.remove_prefix(start);
  auto end = std::min(text.find(' '), text.size());
  std::string_view word = text.substr(0, end);
  text.remove_prefix(end);
  return word;
}

/// What a question is about.
struct Question {
  Direction direction = Direction::egress;
  bool is_lookup = false;
  Protocol protocol = Protocol::tcp;
  std::string_view host;
  Port port;
  std::optional<IpAddress> inner;  ///< Behind the guest's NIC.
};

Result<Question> parse_question(std::string_view text) {
  Question question;
  std::string_view rest = text;
  std::string_view kind = next_word(rest);
  if (kind == "ingress") {
    question.direction = Direction::ingress;
    kind = next_word(rest);
  }
  bool is_egress = question.direction == Direction::egress;
  question.is_lookup = kind == "dns" && is_egress;
  if (kind == "udp") {
    question.protocol = Protocol::udp;
  } else if (kind == "icmp" && is_egress) {
    question.protocol = Protocol::icmp;
  } else if (kind != "tcp" && !question.is_lookup) {
    return bad(text, "is no question");
  }
  std::string_view target = next_word(rest);
  if (target.empty()) return bad(text, "is no question");
  if (std::string_view more = next_word(rest); !more.empty()) {
    auto inner = IpAddress::parse(next_word(rest));
    if (more != "from" || !inner || !next_word(rest).empty()) return bad(text, "is no question");
    question.inner = *inner;
  }
  question.host = target;
  if (question.protocol == Protocol::icmp || question.is_lookup) return question;
  auto colon = target.rfind(':');
  auto port = colon == std::string_view::npos
                  ? Result<Port>(Status(StatusCode::invalid_argument, ""))
                  : Port::parse(target.substr(colon + 1));
  if (!port || *port == Port(0)) return bad(text, "lacks a port from 1 to 65535");
  question.port = *port;
  question.host = target.substr(0, colon);
  if (question.host.starts_with('[') && question.host.ends_with(']')) {
    question.host = question.host.substr(1, question.host.size() - 2);
  }
  return question;
}

std::string subject_of(Direction direction, Protocol protocol, std::string_view host, Port port) {
  std::string place =
      protocol == Protocol::icmp ? std::string(host) : fmt::format("{}:{}", host, port.value());
  return direction == Direction::egress ? fmt::format("{} {}", to_string(protocol), place)
                                        : fmt::format("{} from {} to the guest's port {}",
                                                      to_string(protocol), host, port.value());
}

std::vector<DnsInfo::Resolver> resolvers_of(const dns::Upstreams& upstreams, TimePoint now) {
  std::vector<DnsInfo::Resolver> all;
  for (const dns::Upstreams::State& state : upstreams.states()) {
    all.push_back({.resolver = state.resolver,
                   .avoided = upstreams.is_avoided(state.resolver, now),
                   .answers = state.answers,
                   .failures = state.failures,
                   .trouble = state.trouble});
  }
  return all;
}

}  // namespace

PolicyInfo describe_policy(const policy::Policy& policy) {
  PolicyInfo info;
  info.generation = policy.generation();
  for (const policy::Rule& rule : policy.rules()) info.rules.push_back(describe_rule(rule));
  info.egress_default = policy.default_of(Direction::egress);
  info.ingress_default = policy.default_of(Direction::ingress);
  info.names_resolve = policy.needs_names();
  for (const policy::Warning& warning : policy.warnings()) info.warnings.push_back(warning.text);
  info.summary = policy.summary();
  return info;
}

PolicyInfo Inspector::policy() const {
  PolicyInfo info = describe_policy(gatekeeper_.policy());
  info.generation = gatekeeper_.generation();
  return info;
}

std::vector<NameBinding> Inspector::bindings() const {
  std::vector<NameBinding> all;
  TimePoint now = loop_.now();
  gatekeeper_.names().each_binding(now, [&](std::string_view name, const IpAddress& address,
                                            TimePoint expires, bool is_pinned) {
    auto left = std::chrono::duration_cast<std::chrono::seconds>(expires - now);
    all.push_back({std::string(name), address, std::max(left, std::chrono::seconds(0)), is_pinned});
  });
  std::sort(all.begin(), all.end(), [](const NameBinding& a, const NameBinding& b) {
    return std::tie(a.name, b.expires_in, a.address) < std::tie(b.name, a.expires_in, b.address);
  });
  return all;
}

DnsInfo Inspector::dns() const {
  DnsInfo info;
  info.resolvers = resolvers_of(dns_.upstreams(), loop_.now());
  info.follows_host = config_.dns_upstreams.empty();
  for (const DnsSplit& split : dns_.split().zones()) {
    const dns::Upstreams* upstreams = dns_.split().of_zone(split.zone);
    if (upstreams) info.split.push_back({split.zone, resolvers_of(*upstreams, loop_.now())});
  }
  info.zones = dns_.records().zone_list();
  info.records = dns_.records().records();
  info.cache_entries = dns_.cache().entries();
  info.cache_bytes = dns_.cache().bytes();
  const dns::Counters& counters = dns_.counters();
  info.counters = {{"queries_udp", counters.queries_udp},
                   {"queries_tcp", counters.queries_tcp},
                   {"ignored", counters.ignored},
                   {"denied", counters.denied},
                   {"addresses_removed", counters.addresses_removed},
                   {"limited", counters.limited},
                   {"local_answers", counters.local_answers},
                   {"stale_answers", counters.stale_answers},
                   {"cache_hits", counters.cache_hits},
                   {"coalesced", counters.coalesced},
                   {"overloaded", counters.overloaded},
                   {"truncated", counters.truncated},
                   {"upstream_queries", counters.upstream_queries},
                   {"upstream_answers", counters.upstream_answers},
                   {"upstream_tcp", counters.upstream_tcp},
                   {"upstream_tls", counters.upstream_tls},
                   {"tls_connections", counters.tls_connections},
                   {"upstream_timeouts", counters.upstream_timeouts},
                   {"upstream_errors", counters.upstream_errors},
                   {"upstream_forged", counters.upstream_forged}};
  return info;
}

std::vector<DnsRecord> Inspector::dns_records() const {
  std::vector<DnsRecord> all;
  for (const dns::Record& record : dns_.records().list()) {
    if (auto described = dns::describe_record(record)) all.push_back(std::move(*described));
  }
  std::sort(all.begin(), all.end(), [](const DnsRecord& a, const DnsRecord& b) {
    return std::tie(a.name, a.type, a.value) < std::tie(b.name, b.type, b.value);
  });
  return all;
}

Judgement Inspector::explain(std::string subject, const Verdict& verdict,
                             policy::Judged judged) const {
  Judgement judgement;
  judgement.subject = std::move(subject);
  judgement.action = verdict.action;
  judgement.reason = policy::reason_of(verdict, judged);
  if (const policy::Rule* rule = gatekeeper_.policy().rule_of(verdict)) {
    judgement.rule = describe_rule(*rule);
  }
  return judgement;
}

Judgement Inspector::judge_flow(Direction direction, Protocol protocol, const Endpoint& remote,
                                const std::optional<IpAddress>& inner) const {
  const policy::NameIndex& names = gatekeeper_.names();
  policy::Decision decision = gatekeeper_.policy().judge({.direction = direction,
                                                          .protocol = protocol,
                                                          .remote = remote.address,
                                                          .port = remote.port,
                                                          .inner = inner,
                                                          .names = &names,
                                                          .now = loop_.now()});
  std::string host = remote.address.to_string();
  if (!remote.address.is_v4() && protocol != Protocol::icmp) host = "[" + host + "]";
  Judgement judgement = explain(subject_of(direction, protocol, host, remote.port),
                                decision.verdict, policy::Judged::flow);
  judgement.names = names.names_of(remote.address, loop_.now());
  judgement.name_is_decisive = decision.name_is_decisive;
  return judgement;
}

Judgement Inspector::judge_lookup(const DomainName& name,
                                  const std::optional<IpAddress>& inner) const {
  Verdict verdict = gatekeeper_.policy().judge_lookup(name, inner);
  return explain("lookup of " + name.text(), verdict, policy::Judged::lookup);
}

PolicyAnswer Inspector::check_name(const DomainName& name, Protocol protocol, Port port,
                                   const std::optional<IpAddress>& inner) const {
  PolicyAnswer answer;
  answer.lookup = judge_lookup(name, inner);
  for (const IpAddress& address : gatekeeper_.names().addresses_of(name, loop_.now())) {
    answer.flows.push_back(judge_flow(Direction::egress, protocol, {address, port}, inner));
  }
  if (!answer.flows.empty()) {
    bool any = std::any_of(answer.flows.begin(), answer.flows.end(),
                           [](const Judgement& flow) { return flow.action == Action::allow; });
    answer.action = any ? Action::allow : Action::deny;
    return answer;
  }
  answer.note = "the guest has not looked this name up, so no address is bound to it";
  answer.action = answer.lookup->action;
  if (answer.action == Action::deny) return answer;
  if (auto verdict = gatekeeper_.policy().judge_unbound(name, protocol, port, inner)) {
    answer.flows.push_back(explain(subject_of(Direction::egress, protocol, name.text(), port),
                                   *verdict, policy::Judged::flow));
    answer.action = verdict->action;
  } else {
    answer.note += "; which one it is will decide";
  }
  return answer;
}

Result<PolicyAnswer> Inspector::check(std::string_view text) const {
  auto question = parse_question(text);
  if (!question) return question.status();
  PolicyAnswer answer;
  auto address = IpAddress::parse(question->host);
  if (address && !question->is_lookup) {
    answer.flows.push_back(judge_flow(question->direction, question->protocol,
                                      {*address, question->port}, question->inner));
    answer.action = answer.flows.front().action;
    return answer;
  }
  if (question->direction == Direction::ingress) return bad(text, "names a client by no address");
  auto name = DomainName::parse(question->host);
  if (!name || name->is_root()) return bad(text, "names neither an address nor a name");
  if (!question->is_lookup)
    return check_name(*name, question->protocol, question->port, question->inner);
  answer.lookup = judge_lookup(*name, question->inner);
  answer.action = answer.lookup->action;
  return answer;
}

}  // namespace sluice::core
