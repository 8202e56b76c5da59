#include "agent/dns/dns_forwarder.h"

#include <algorithm>

namespace sluice::agent {

DnsForwarder::DnsForwarder(Loop& loop, HostNet& host, DnsCounters& counters, RandomId random)
    : loop_(loop), host_(host), counters_(counters), random_(std::move(random)) {}

DnsForwarder::~DnsForwarder() = default;

/// Two queries that differ in their id alone have the same answer.
std::string DnsForwarder::key_of(ConstBytes query, dns::Transport transport) {
  std::string key(1, transport == dns::Transport::udp ? 'u' : 't');
  auto rest = query.subspan(2);
  key.append(reinterpret_cast<const char*>(rest.data()), rest.size());
  return key;
}

bool DnsForwarder::ask(ConstBytes query, dns::Transport transport, const IpAddress& client,
                       OnReply on_reply) {
  std::string key = key_of(query, transport);
  auto under_way = questions_.find(key);
  auto own = of_client_.find(client);
  if (waiting_ >= kMaxWaiting || (own != of_client_.end() && own->second >= kMaxPerClient) ||
      (under_way == questions_.end() && questions_.size() >= kMaxQuestions)) {
    ++counters_.over_limit;
    return false;
  }
  ++waiting_;
  ++of_client_[client];
  ++counters_.forwarded;
  if (under_way != questions_.end()) {
    ++counters_.coalesced;
    under_way->second->waiters.push_back({client, std::move(on_reply)});
    return true;
  }
  auto made = std::make_unique<Question>();
  made->query.assign(query.begin(), query.end());
  made->transport = transport;
  made->waiters.push_back({client, std::move(on_reply)});
  made->timer = loop_.make_timer([this, key] {
    auto found = questions_.find(key);
    if (found != questions_.end() && found->second->call) ++counters_.upstream_timeouts;
    next_server(key);
  });
  Question& question = *made;
  questions_.emplace(key, std::move(made));
  if (servers_.empty()) {
    question.timer->start(kTimeout);
  } else {
    question.server = preferred_;
    try_server(key, question);
  }
  return true;
}

void DnsForwarder::set_servers(std::vector<Endpoint> servers) {
  if (servers.size() > kMaxServers) servers.resize(kMaxServers);
  if (servers == servers_) return;
  std::vector<Endpoint> before = std::exchange(servers_, std::move(servers));
  preferred_ = 0;
  for (auto& [key, question] : questions_) {
    Endpoint asked = question->call ? before[question->server] : Endpoint();
    auto kept = std::find(servers_.begin(), servers_.end(), asked);
    if (question->call && kept != servers_.end()) {
      question->server = static_cast<std::size_t>(kept - servers_.begin());
      continue;
    }
    question->server = 0;
    question->asked = 0;
    question->call.reset();
    if (servers_.empty()) {
      question->timer->start(kTimeout);
    } else {
      try_server(key, *question);
    }
  }
}

void DnsForwarder::try_server(const std::string& key, Question& question) {
  ++question.asked;
  question.call = std::make_unique<UpstreamCall>(
      host_, counters_, random_(), servers_[question.server], question.query, question.transport,
      [this, key](std::vector<std::uint8_t> reply) { on_reply(key, std::move(reply)); });
  if (question.call->start()) {
    question.timer->start(kTimeout);
    return;
  }
  ++counters_.upstream_failures;
  question.call.reset();
  question.timer->start(Duration::zero());
}

void DnsForwarder::on_reply(const std::string& key, std::vector<std::uint8_t> reply) {
  auto found = questions_.find(key);
  if (found == questions_.end()) return;
  Question& question = *found->second;
  auto header = wire::DnsMessage::parse_header(reply);
  bool failed =
      !header || header->rcode == static_cast<std::uint8_t>(wire::DnsRcode::server_failure);
  if (!failed) {
    preferred_ = question.server;
    return finish(key, reply);
  }
  ++counters_.upstream_failures;
  if (header) question.refusal = std::move(reply);
  next_server(key);
}

void DnsForwarder::next_server(const std::string& key) {
  auto found = questions_.find(key);
  if (found == questions_.end()) return;
  Question& question = *found->second;
  question.call.reset();
  if (question.asked >= servers_.size()) {
    std::vector<std::uint8_t> refusal = std::move(question.refusal);
    return finish(key, refusal);
  }
  question.server = (question.server + 1) % servers_.size();
  try_server(key, question);
}

void DnsForwarder::finish(const std::string& key, ConstBytes reply) {
  auto node = questions_.extract(key);
  if (reply.empty()) counters_.unanswered += node.mapped()->waiters.size();
  for (Waiter& waiter : node.mapped()->waiters) {
    --waiting_;
    auto own = of_client_.find(waiter.client);
    if (--own->second == 0) of_client_.erase(own);
    waiter.on_reply(reply);
  }
}

}  // namespace sluice::agent
