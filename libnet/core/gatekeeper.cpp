#include "core/gatekeeper.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "core/rule_info.h"

namespace sluice::core {

namespace {

constexpr Port kDnsOverTls{853};

}  // namespace

Gatekeeper::Gatekeeper(Loop& loop, const gateway::Config& config, std::vector<ReverseSpec> reverse,
                       EventReporter::Sinks sinks)
    : loop_(loop),
      config_(config),
      reverse_(std::move(reverse)),
      events_(loop, config.guest_name, std::move(sinks)) {}

void Gatekeeper::set_policy(std::shared_ptr<const policy::Policy> policy) {
  policy_ = std::move(policy);
  grounds_.clear();
  ++generation_;
}

void Gatekeeper::forget(const DomainName& name) {
  names_.forget(name);
}

bool Gatekeeper::forget(const dns::RecordChange& change) {
  for (const auto& [name, address] : change.lost_addresses) names_.forget(name, address);
  for (const DomainName& name : change.lost_aliases) names_.forget(name);
  return !change.lost_addresses.empty() || !change.lost_aliases.empty();
}

bool Gatekeeper::is_gateway(const IpAddress& address) const {
  return address == config_.gateway4 || address == config_.gateway6;
}

bool Gatekeeper::is_host(const IpAddress& address) const {
  return is_gateway(address) || address == config_.host_alias4 ||
         (config_.host_alias6 && address == *config_.host_alias6);
}

bool Gatekeeper::is_own_service(const Endpoint& remote) const {
  return is_gateway(remote.address) &&
         (remote.port == wire::kDnsPort || remote.port == kDnsOverTls);
}

bool Gatekeeper::is_unroutable(const IpAddress& address) const {
  // 0.0.0.0 and :: would be the host's own loopback to connect(); the guest's subnet is not the
  // host's network of the same number.
  return address.is_unspecified() || address.is_multicast() || address.is_limited_broadcast() ||
         (!is_host(address) &&
          (config_.subnet4.contains(address) || config_.prefix6.contains(address)));
}

flow::TcpRoute Gatekeeper::route_tcp(const Endpoint& guest, const Endpoint& remote, FlowId flow) {
  flow::TcpRoute route;
  Asked asked{.layer = Layer::syn,
              .protocol = Protocol::tcp,
              .source = guest,
              .destination = remote,
              .flow = flow};
  if (remote.port == wire::kDnsPort) {
    route.kind = flow::TcpRoute::Kind::session;
    route.grant = grant(asked, ground_of("the gateway's DNS service"));
    route.session = dns_->open_session({.guest = 0, .source = guest, .server = remote});
    return route;
  }
  if (is_gateway(remote.address)) {
    auto reverse = std::find_if(reverse_.begin(), reverse_.end(), [&](const ReverseSpec& spec) {
      return spec.guest_port == remote.port;
    });
    if (reverse != reverse_.end()) {
      route.kind = flow::TcpRoute::Kind::dial_unix;
      route.grant = grant(asked, ground_of("reverse port to " + reverse->unix_path));
      route.path = reverse->unix_path;
      return route;
    }
  }
  policy::Decision decision = judge(asked);
  if (!decision.allowed()) return route;
  if (is_own_service(remote)) return route;
  if (is_unroutable(remote.address)) {
    route.kind = flow::TcpRoute::Kind::unreachable;
    return route;
  }
  route.grant = grant(asked, ground_of(decision.verdict));
  lead(route, remote);
  if (decision.name_is_decisive) {
    route.first_flight = std::make_unique<policy::FirstFlight>(
        first_flight_options_, name_judge(Protocol::tcp, guest, remote, route.grant.id));
  }
  return route;
}

void Gatekeeper::lead(flow::TcpRoute& route, const Endpoint& remote) {
  route.kind = flow::TcpRoute::Kind::dial;
  if (is_host(remote.address)) {
    Family other = remote.address.is_v4() ? Family::v6 : Family::v4;
    route.addresses = {{IpAddress::loopback(remote.address.family()), remote.port},
                       {IpAddress::loopback(other), remote.port}};
  } else {
    route.addresses = {remote};
    route.hold = hold(remote.address);
  }
}

void Gatekeeper::look_up(const Endpoint& guest, const DomainName& name, Family family,
                         flow::AddressesTo done) {
  const IpAddress& gateway = guest.address.is_v4() ? config_.gateway4 : config_.gateway6;
  dns_->look_up(name, family, {.guest = 0, .source = guest, .server = {gateway, wire::kDnsPort}},
                std::move(done));
}

flow::TcpRoute Gatekeeper::route_named(const Endpoint& guest, const Endpoint& remote,
                                       const DomainName& name, FlowId flow) {
  flow::TcpRoute route;
  if (is_own_service(remote) || is_unroutable(remote.address)) return route;
  if (name_judge(Protocol::tcp, guest, remote, flow)(name).allowed()) lead(route, remote);
  return route;
}

flow::UdpRoute Gatekeeper::route_udp(const Endpoint& guest, const Endpoint& remote, FlowId flow) {
  flow::UdpRoute route;
  Asked asked{.layer = Layer::udp,
              .protocol = Protocol::udp,
              .source = guest,
              .destination = remote,
              .flow = flow};
  policy::Decision decision = judge(asked);
  if (!decision.allowed()) return route;
  if (is_own_service(remote) || is_unroutable(remote.address)) return route;
  route.kind = flow::UdpRoute::Kind::send;
  route.grant = grant(asked, ground_of(decision.verdict));
  route.address = is_host(remote.address)
                      ? Endpoint{IpAddress::loopback(remote.address.family()), remote.port}
                      : remote;
  route.hold = hold(remote.address);
  if (decision.name_is_decisive) {
    route.first_flight = std::make_unique<policy::DatagramFlight>(
        first_flight_options_, name_judge(Protocol::udp, guest, remote, route.grant.id));
  }
  return route;
}

policy::FirstFlight::Judge Gatekeeper::name_judge(Protocol protocol, const Endpoint& guest,
                                                  const Endpoint& remote, FlowId flow) {
  return [this, protocol, guest, remote, flow](const DomainName& name) {
    Verdict verdict =
        policy_->judge_named(query(Direction::egress, protocol, guest, remote), name).verdict;
    if (verdict.allowed() && events_.wants_flows()) {
      Event event = event_of({.layer = Layer::first_flight,
                              .protocol = protocol,
                              .source = guest,
                              .destination = remote,
                              .flow = flow},
                             verdict);
      event.server_name = name.text();
      events_.report(std::move(event));
    }
    return verdict;
  };
}

flow::Grant Gatekeeper::allow_echo(const IpAddress& guest, const IpAddress& remote) {
  Asked asked{.layer = Layer::icmp,
              .protocol = Protocol::icmp,
              .source = {guest, Port()},
              .destination = {remote, Port()}};
  policy::Decision decision = judge(asked);
  if (!decision.allowed() || is_unroutable(remote)) return {};
  return grant(asked, ground_of(decision.verdict));
}

flow::Grant Gatekeeper::allow_ingress(Protocol protocol, const std::optional<Endpoint>& client,
                                      const Endpoint& guest, FlowId flow) {
  Asked asked{.layer = Layer::ingress,
              .direction = Direction::ingress,
              .protocol = protocol,
              .source = client.value_or(Endpoint{config_.gateway4, Port()}),
              .destination = guest,
              .flow = flow};
  if (!client) return grant(asked, ground_of("a client of the host's own"));
  policy::Decision decision = judge(asked);
  if (!decision.allowed()) return {};
  return grant(asked, ground_of(decision.verdict));
}

void Gatekeeper::on_client_refused(Protocol protocol, const Endpoint& client, const Endpoint& guest,
                                   const PublishSpec& port) {
  Event event = event_of({.layer = Layer::ingress,
                          .direction = Direction::ingress,
                          .protocol = protocol,
                          .source = client,
                          .destination = guest});
  event.rule = "published port " + to_string(port);
  event.reason = "its allowed sources don't hold this client";
  events_.report(std::move(event));
}

bool Gatekeeper::allow_named(Protocol protocol, const Endpoint& guest, const Endpoint& remote,
                             const DomainName& name, FlowId flow) {
  auto asked = query(Direction::egress, protocol, guest, remote);
  Verdict verdict = policy_->judge_named(asked, name).verdict;
  if (!verdict.allowed()) {
    on_first_flight_denied(protocol, guest, remote, {name, verdict, "the policy has changed"},
                           flow);
  }
  return verdict.allowed();
}

bool Gatekeeper::allow_unread(Protocol protocol, const Endpoint& guest, const Endpoint& remote,
                              FlowId flow) {
  auto asked = query(Direction::egress, protocol, guest, remote);
  for (const std::string& text : names_.names_of(remote.address, loop_.now())) {
    auto name = DomainName::parse(text);
    if (!name) continue;
    Verdict verdict = policy_->judge_named(asked, *name).verdict;
    if (verdict.allowed()) continue;
    on_first_flight_denied(protocol, guest, remote,
                           {*name, verdict, "the policy has changed; it may be for this name"},
                           flow);
    return false;
  }
  return true;
}

void Gatekeeper::on_first_flight_denied(Protocol protocol, const Endpoint& guest,
                                        const Endpoint& remote,
                                        const policy::FirstFlightDenial& denial, FlowId flow) {
  Asked asked{.layer = Layer::first_flight,
              .protocol = protocol,
              .source = guest,
              .destination = remote,
              .flow = flow};
  Event event = denial.verdict ? event_of(asked, *denial.verdict) : event_of(asked);
  if (denial.name) event.server_name = denial.name->text();
  if (!denial.verdict) event.rule = denial.decider;
  event.reason = denial.reason;
  events_.report(std::move(event));
}

void Gatekeeper::on_flow_closed(const flow::FlowSight& flow, std::string_view reason) {
  if (!events_.wants_flows()) return;
  bool egress = flow.direction == Direction::egress;
  Event event = event_of({.layer = !egress                          ? Layer::ingress
                                   : flow.protocol == Protocol::tcp ? Layer::syn
                                   : flow.protocol == Protocol::udp ? Layer::udp
                                                                    : Layer::icmp,
                          .direction = flow.direction,
                          .protocol = flow.protocol,
                          .source = egress ? flow.guest : flow.remote,
                          .destination = egress ? flow.remote : flow.guest,
                          .flow = flow.record.grant.id});
  event.kind = EventKind::closed;
  if (flow.name) event.server_name = flow.name->text();
  if (const auto& ground = flow.record.grant.ground) {
    event.rule = ground->text;
    event.decided_by = ground->rule;
    event.generation = ground->generation;
  }
  event.reason = reason;
  event.tx_bytes = flow.record.tx_bytes;
  event.rx_bytes = flow.record.rx_bytes;
  event.duration = loop_.now() - flow.record.opened;
  events_.report(std::move(event));
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

policy::Decision Gatekeeper::judge(const Asked& asked) {
  policy::Query question = query(asked.direction, asked.protocol, asked.source, asked.destination);
  policy::Decision decision = policy_->judge(question);
  if (is_learning_) learn_flow(question, decision);
  if (!decision.allowed()) events_.report(event_of(asked, decision.verdict));
  return decision;
}

flow::Grant Gatekeeper::grant(const Asked& asked, std::shared_ptr<const flow::Ground> ground) {
  if (asked.flow != 0) return {asked.flow, std::move(ground)};
  flow::Grant grant{next_flow_++, std::move(ground)};
  if (events_.wants_flows()) {
    Event event = event_of(asked);
    event.kind = EventKind::allowed;
    event.flow = grant.id;
    event.rule = grant.ground->text;
    event.decided_by = grant.ground->rule;
    event.reason = event.decided_by ? "a rule allows it" : "no rule denies it";
    events_.report(std::move(event));
  }
  return grant;
}

std::shared_ptr<const flow::Ground> Gatekeeper::ground_of(const Verdict& verdict) {
  // What is no rule is told apart by its basis.
  int key = verdict.rule >= 0 ? verdict.rule : -1 - static_cast<int>(verdict.basis);
  auto& ground = grounds_[key];
  if (!ground) {
    auto made = std::make_shared<flow::Ground>();
    made->text = policy_->describe(verdict);
    if (const policy::Rule* rule = policy_->rule_of(verdict)) made->rule = describe_rule(*rule);
    made->generation = generation_;
    ground = std::move(made);
  }
  return ground;
}

std::shared_ptr<const flow::Ground> Gatekeeper::ground_of(std::string text) const {
  return std::make_shared<flow::Ground>(
      flow::Ground{.text = std::move(text), .rule = {}, .generation = generation_});
}

Event Gatekeeper::event_of(const Asked& asked) const {
  Event event;
  event.flow = asked.flow;
  event.layer = asked.layer;
  event.protocol = asked.protocol;
  event.source = asked.source;
  event.destination = asked.destination;
  bool egress = asked.direction == Direction::egress;
  const IpAddress& remote = (egress ? asked.destination : asked.source).address;
  names_.each_name(remote, loop_.now(), [&](std::string_view name) {
    event.names.emplace_back(name);
    return event.names.size() < kMaxNamesShown;
  });
  event.generation = generation_;
  return event;
}

Event Gatekeeper::event_of(const Asked& asked, const Verdict& verdict) const {
  Event event = event_of(asked);
  note_verdict(event, verdict, policy::Judged::flow);
  return event;
}

void Gatekeeper::note_verdict(Event& event, const Verdict& verdict, policy::Judged judged) const {
  event.kind = verdict.allowed() ? EventKind::allowed : EventKind::denied;
  event.rule = policy_->describe(verdict);
  event.is_fatal = policy_->is_fatal(verdict);
  event.reason = policy::reason_of(verdict, judged);
  if (const policy::Rule* rule = policy_->rule_of(verdict)) event.decided_by = describe_rule(*rule);
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

dns::LookupVerdict Gatekeeper::may_query(const dns::Lookup& lookup) {
  if (lookup.origin != dns::Origin::upstream) return dns::LookupVerdict::allow;
  Verdict verdict = policy_->judge_lookup(lookup.name, lookup.client.source.address);
  if (is_learning_ && (learn_mode_ == LearnMode::everything || !verdict.allowed())) {
    learner_.saw_lookup(lookup.name);
  }
  if (!verdict.allowed() || events_.wants_flows()) {
    Event event = lookup_event(lookup.client, lookup.name);
    note_verdict(event, verdict, policy::Judged::lookup);
    events_.report(std::move(event));
  }
  if (verdict.allowed()) {
    const policy::Rule* rule = policy_->rule_of(verdict);
    bool below = rule && std::holds_alternative<policy::SuffixName>(rule->target);
    return below ? dns::LookupVerdict::allow_below : dns::LookupVerdict::allow;
  }
  return verdict.rule < 0 ? dns::LookupVerdict::prohibited : dns::LookupVerdict::blocked;
}

void Gatekeeper::on_limit(const dns::Lookup& lookup, dns::Limit limit) {
  static constexpr std::array<const char*, 4> kReasons{
      "too many lookups in a second", "too many different names of this zone in a minute",
      "the name looks like encoded data", "too much data in answers in a minute"};
  Event event = lookup_event(lookup.client, lookup.name);
  event.rule = "limit on lookups";
  event.reason = kReasons[static_cast<std::size_t>(limit)];
  events_.report(std::move(event));
}

Event Gatekeeper::lookup_event(const dns::Client& client, const DomainName& name) const {
  Event event;
  event.layer = Layer::dns;
  event.protocol = Protocol::udp;
  event.source = client.source;
  event.destination = client.server;
  event.names = {name.text()};
  event.generation = generation_;
  return event;
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
  if (!removed.empty()) {
    Event event = lookup_event(notice.client, notice.names.front());
    event.rule = "answer filter";
    event.reason = fmt::format("{} is left out of the answer: no rule opens it to this name",
                               notice.addresses[removed.front()].address.to_string());
    if (removed.size() > 1) event.reason += fmt::format(", nor {} others", removed.size() - 1);
    events_.report(std::move(event));
  }
  return removed;
}

}  // namespace sluice::core
