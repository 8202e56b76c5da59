#include "core/gatekeeper.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace sluice::core {

namespace {

/// Like refusals within this time are one event.
constexpr auto kReportInterval = std::chrono::seconds(1);
/// Kinds of refusal remembered for that: a port scan makes many, and then the memory starts anew.
constexpr std::size_t kMaxRecent = 4096;
constexpr Port kDns{53};
constexpr Port kDnsOverTls{853};

}  // namespace

Gatekeeper::Gatekeeper(Loop& loop, const gateway::Config& config, std::vector<ReverseSpec> reverse,
                       OnDenied on_denied, OnDenied on_violation)
    : loop_(loop),
      config_(config),
      reverse_(std::move(reverse)),
      on_denied_(std::move(on_denied)),
      on_violation_(std::move(on_violation)) {}

void Gatekeeper::set_policy(std::shared_ptr<const policy::Policy> policy, RevokedFlows revoked) {
  policy_ = std::move(policy);
  ++generation_;
  if (revoked == RevokedFlows::reset) revoked_before_ = generation_;
}

void Gatekeeper::forget(const DomainName& name) {
  names_.forget(name);
  revoked_before_ = ++generation_;
}

void Gatekeeper::forget(const dns::RecordChange& change) {
  for (const auto& [name, address] : change.lost_addresses) names_.forget(name, address);
  for (const DomainName& name : change.lost_aliases) names_.forget(name);
  bool is_any = !change.lost_addresses.empty() || !change.lost_aliases.empty();
  if (is_any) revoked_before_ = ++generation_;
}

bool Gatekeeper::is_gateway(const IpAddress& address) const {
  return address == config_.gateway4 || address == config_.gateway6;
}

bool Gatekeeper::is_host(const IpAddress& address) const {
  return is_gateway(address) || address == config_.host_alias4 ||
         (config_.host_alias6 && address == *config_.host_alias6);
}

bool Gatekeeper::is_own_service(const Endpoint& remote) const {
  return is_gateway(remote.address) && (remote.port == kDns || remote.port == kDnsOverTls);
}

bool Gatekeeper::is_unroutable(const IpAddress& address) const {
  // 0.0.0.0 and :: would be the host's own loopback to connect(); the guest's subnet is not the
  // host's network of the same number.
  return address.is_unspecified() || address.is_multicast() || address.is_limited_broadcast() ||
         (!is_host(address) &&
          (config_.subnet4.contains(address) || config_.prefix6.contains(address)));
}

flow::TcpRoute Gatekeeper::route_tcp(const Endpoint& guest, const Endpoint& remote) {
  flow::TcpRoute route;
  if (remote.port == kDns) {
    route.kind = flow::TcpRoute::Kind::session;
    route.session = dns_->open_session({.guest = 0, .source = guest, .server = remote});
    return route;
  }
  if (is_gateway(remote.address)) {
    auto reverse = std::find_if(reverse_.begin(), reverse_.end(), [&](const ReverseSpec& spec) {
      return spec.guest_port == remote.port;
    });
    if (reverse != reverse_.end()) {
      route.kind = flow::TcpRoute::Kind::dial_unix;
      route.path = reverse->unix_path;
      return route;
    }
  }
  policy::Decision decision = judge(Layer::syn, Direction::egress, Protocol::tcp, guest, remote);
  if (!decision.allowed()) return route;
  if (is_own_service(remote)) return route;
  if (is_unroutable(remote.address)) {
    route.kind = flow::TcpRoute::Kind::unreachable;
    return route;
  }
  route.kind = flow::TcpRoute::Kind::dial;
  if (is_host(remote.address)) {
    Family other = remote.address.is_v4() ? Family::v6 : Family::v4;
    route.addresses = {{IpAddress::loopback(remote.address.family()), remote.port},
                       {IpAddress::loopback(other), remote.port}};
  } else {
    route.addresses = {remote};
    route.hold = hold(remote.address);
  }
  if (decision.name_is_decisive) {
    route.first_flight = std::make_unique<policy::FirstFlight>(
        first_flight_options_, name_judge(Protocol::tcp, guest, remote));
  }
  return route;
}

flow::UdpRoute Gatekeeper::route_udp(const Endpoint& guest, const Endpoint& remote) {
  flow::UdpRoute route;
  policy::Decision decision = judge(Layer::udp, Direction::egress, Protocol::udp, guest, remote);
  if (!decision.allowed()) return route;
  if (is_own_service(remote) || is_unroutable(remote.address)) return route;
  route.kind = flow::UdpRoute::Kind::send;
  route.address = is_host(remote.address)
                      ? Endpoint{IpAddress::loopback(remote.address.family()), remote.port}
                      : remote;
  route.hold = hold(remote.address);
  if (decision.name_is_decisive) {
    route.first_flight = std::make_unique<policy::DatagramFlight>(
        first_flight_options_, name_judge(Protocol::udp, guest, remote));
  }
  return route;
}

policy::FirstFlight::Judge Gatekeeper::name_judge(Protocol protocol, const Endpoint& guest,
                                                  const Endpoint& remote) const {
  return [this, protocol, guest, remote](const DomainName& name) {
    return policy_->judge_named(query(Direction::egress, protocol, guest, remote), name).verdict;
  };
}

bool Gatekeeper::allow_echo(const IpAddress& guest, const IpAddress& remote) {
  return judge(Layer::icmp, Direction::egress, Protocol::icmp, {guest, Port()}, {remote, Port()})
             .allowed() &&
         !is_unroutable(remote);
}

bool Gatekeeper::allow_ingress(Protocol protocol, const Endpoint& client, const Endpoint& guest) {
  return judge(Layer::ingress, Direction::ingress, protocol, client, guest).allowed();
}

bool Gatekeeper::allow_named(Protocol protocol, const Endpoint& guest, const Endpoint& remote,
                             const DomainName& name) {
  auto asked = query(Direction::egress, protocol, guest, remote);
  Verdict verdict = policy_->judge_named(asked, name).verdict;
  if (!verdict.allowed()) {
    on_first_flight_denied(protocol, guest, remote, {name, verdict, "the policy has changed"});
  }
  return verdict.allowed();
}

bool Gatekeeper::allow_unread(Protocol protocol, const Endpoint& guest, const Endpoint& remote) {
  auto asked = query(Direction::egress, protocol, guest, remote);
  for (const std::string& text : names_.names_of(remote.address, loop_.now())) {
    auto name = DomainName::parse(text);
    if (!name) continue;
    Verdict verdict = policy_->judge_named(asked, *name).verdict;
    if (verdict.allowed()) continue;
    on_first_flight_denied(protocol, guest, remote,
                           {*name, verdict, "the policy has changed; it may be for this name"});
    return false;
  }
  return true;
}

void Gatekeeper::on_first_flight_denied(Protocol protocol, const Endpoint& guest,
                                        const Endpoint& remote,
                                        const policy::FirstFlightDenial& denial) {
  DenialEvent event;
  event.layer = Layer::first_flight;
  event.protocol = protocol;
  event.source = guest;
  event.destination = remote;
  event.names = names_.names_of(remote.address, loop_.now());
  if (denial.name) event.server_name = denial.name->text();
  event.rule = denial.verdict ? policy_->describe(*denial.verdict) : "unidentified";
  event.is_fatal = denial.verdict && policy_->is_fatal(*denial.verdict);
  event.reason = denial.reason;
  deny(std::move(event));
}

policy::Query Gatekeeper::query(Direction direction, Protocol protocol, const Endpoint& source,
                                const Endpoint& destination) const {
  bool egress = direction == Direction::egress;
  return {.direction = direction,
          .protocol = protocol,
          .remote = egress ? destination.address : source.address,
          .port = destination.port,
          .inner = egress ? source.address : destination.address,
          .names = &names_,
          .now = loop_.now()};
}

policy::Decision Gatekeeper::judge(Layer layer, Direction direction, Protocol protocol,
                                   const Endpoint& source, const Endpoint& destination) {
  policy::Query asked = query(direction, protocol, source, destination);
  policy::Decision decision = policy_->judge(asked);
  if (is_learning_) learn_flow(asked, decision);
  if (decision.allowed()) return decision;
  DenialEvent event;
  event.layer = layer;
  event.protocol = protocol;
  event.source = source;
  event.destination = destination;
  event.names = names_.names_of(asked.remote, asked.now);
  event.rule = policy_->describe(decision.verdict);
  event.is_fatal = policy_->is_fatal(decision.verdict);
  event.reason = decision.verdict.rule < 0 ? "no rule allows it" : "a rule denies it";
  deny(std::move(event));
  return decision;
}

void Gatekeeper::learn(LearnMode mode) {
  learner_ = policy::Learner();
  learn_mode_ = mode;
  is_learning_ = true;
}

LearnReport Gatekeeper::learned() const {
  LearnReport report{
      .active = is_learning_, .mode = learn_mode_, .rules = {}, .overflow = learner_.overflow()};
  for (const policy::LearnedRule& one : learner_.rules()) {
    report.rules.push_back({one.rule.to_string(), one.seen, one.note});
  }
  return report;
}

void Gatekeeper::learn_flow(const policy::Query& query, const policy::Decision& decision) {
  bool counts = learn_mode_ == LearnMode::everything || !decision.allowed();
  // What needs no rule, and what no rule can open.
  if (!counts || query.direction == Direction::ingress ||
      decision.verdict.basis == Basis::dns_service || is_unroutable(query.remote)) {
    return;
  }
  learner_.saw_flow(
      {.protocol = query.protocol,
       .remote = query.remote,
       .port = query.port,
       .is_public = policy_->groups().groups_of(query.remote).for_allow.has(policy::Group::public_),
       .names = names_.names_of(query.remote, query.now)});
}

std::shared_ptr<const void> Gatekeeper::hold(const IpAddress& address) {
  policy::NameIndex::Pin pin = names_.pin(address);
  if (pin.is_empty()) return nullptr;
  return std::make_shared<policy::NameIndex::Pin>(std::move(pin));
}

void Gatekeeper::deny(DenialEvent event) {
  ++denials_;
  event.time_ns = loop_.wall_time_ns();
  if (event.is_fatal && on_violation_) on_violation_(event);
  std::string kind =
      fmt::format("{} {} {} {} {}", static_cast<int>(event.layer), static_cast<int>(event.protocol),
                  event.source.address.to_string(), event.destination.to_string(),
                  event.layer == Layer::dns ? event.names.front() : "");
  if (recent_.size() >= kMaxRecent) recent_.clear();
  auto [it, is_new] = recent_.try_emplace(kind);
  if (!is_new && loop_.now() - it->second.reported < kReportInterval) {
    ++it->second.suppressed;
    return;
  }
  event.suppressed = std::exchange(it->second.suppressed, 0);
  it->second.reported = loop_.now();
  if (on_denied_) on_denied_(event);
}

dns::LookupVerdict Gatekeeper::may_query(const dns::Lookup& lookup) {
  if (lookup.origin != dns::Origin::upstream) return dns::LookupVerdict::allow;
  Verdict verdict = policy_->judge_lookup(lookup.name, lookup.client.source.address);
  if (is_learning_ && (learn_mode_ == LearnMode::everything || !verdict.allowed())) {
    learner_.saw_lookup(lookup.name);
  }
  if (verdict.allowed()) {
    bool below =
        verdict.rule >= 0 && std::holds_alternative<policy::SuffixName>(
                                 policy_->rules()[static_cast<std::size_t>(verdict.rule)].target);
    return below ? dns::LookupVerdict::allow_below : dns::LookupVerdict::allow;
  }
  deny_lookup(lookup, policy_->describe(verdict),
              verdict.rule < 0 ? "no rule lets this name be resolved" : "a rule denies it",
              policy_->is_fatal(verdict));
  return verdict.rule < 0 ? dns::LookupVerdict::prohibited : dns::LookupVerdict::blocked;
}

void Gatekeeper::on_limit(const dns::Lookup& lookup, dns::Limit limit) {
  static constexpr std::array<const char*, 4> kReasons{
      "too many lookups in a second", "too many different names of this zone in a minute",
      "the name looks like encoded data", "too much data in answers in a minute"};
  deny_lookup(lookup, "limit on lookups", kReasons[static_cast<std::size_t>(limit)], false);
}

void Gatekeeper::deny_lookup(const dns::Lookup& lookup, std::string rule, std::string reason,
                             bool is_fatal) {
  DenialEvent event;
  event.layer = Layer::dns;
  event.protocol = Protocol::udp;
  event.source = lookup.client.source;
  event.destination = lookup.client.server;
  event.names = {lookup.name.text()};
  event.rule = std::move(rule);
  event.reason = std::move(reason);
  event.is_fatal = is_fatal;
  deny(std::move(event));
}

std::vector<std::size_t> Gatekeeper::on_answer(const dns::AnswerNotice& notice) {
  std::vector<std::size_t> removed;
  if (notice.origin == dns::Origin::local || notice.names.empty()) return removed;
  TimePoint now = loop_.now();
  for (std::size_t i = 0; i < notice.addresses.size(); ++i) {
    const dns::BoundAddress& bound = notice.addresses[i];
    // The owner's own records are no rebinding, and a rule on such a name means what they say.
    if (notice.origin == dns::Origin::upstream &&
        !policy_->answer_allowed(notice.names.front(), bound.address,
                                 notice.client.source.address)) {
      removed.push_back(i);
      continue;
    }
    for (const DomainName& name : notice.names) names_.bind(name, bound.address, bound.ttl, now);
  }
  return removed;
}

}  // namespace sluice::core
