#include "dns/service.h"

#include <algorithm>

#include "dns/tcp_session.h"
#include "wire/dns_rdata.h"

namespace sluice::dns {

using wire::DnsExtendedError;
using wire::DnsName;
using wire::DnsRcode;
using wire::DnsType;

namespace {

/// A denial may be lifted at any time, so nobody should keep it for long.
constexpr std::uint32_t kDenialTtlSeconds = 10;
/// Spares upstreams that fail the same question over and over (RFC 9520 section 3.2).
constexpr std::chrono::seconds kFailureLifetime{1};
constexpr std::uint32_t kAnyTtlSeconds = 3600;

/// What ANY is answered with: a record that ends the search (RFC 8482 section 4.2).
Answer make_any(const DnsName& name) {
  constexpr std::string_view kCpu = "RFC8482";
  Record record{name, DnsType::hinfo, kAnyTtlSeconds, {}};
  record.rdata.push_back(static_cast<std::uint8_t>(kCpu.size()));
  record.rdata.insert(record.rdata.end(), kCpu.begin(), kCpu.end());
  record.rdata.push_back(0);
  Answer answer;
  answer.records.push_back(std::move(record));
  return answer;
}

Answer make_failure() {
  Answer answer;
  answer.rcode = DnsRcode::server_failure;
  answer.lifetime = kFailureLifetime;
  return answer;
}

std::vector<BoundAddress> addresses_of(const Answer& answer, std::chrono::seconds age) {
  std::vector<BoundAddress> addresses;
  std::uint32_t least = UINT32_MAX;
  for (const auto& record : answer.records) {
    auto address = wire::rdata_address(record.type, record.rdata);
    if (!address) {
      least = std::min(least, record.ttl_seconds);
      continue;
    }
    // Aliases come before addresses, so `least` is that of the whole chain by now.
    auto ttl = std::chrono::seconds(std::min(least, record.ttl_seconds));
    addresses.push_back({*address, std::max(ttl - age, std::chrono::seconds(0))});
  }
  return addresses;
}

/// `removed` are indices as addresses_of() counts.
Answer without(const Answer& answer, const std::vector<std::size_t>& removed) {
  Answer kept = answer;
  kept.records.clear();
  std::size_t index = 0;
  for (const auto& record : answer.records) {
    bool is_removed = wire::rdata_address(record.type, record.rdata) &&
                      std::binary_search(removed.begin(), removed.end(), index++);
    if (!is_removed) kept.records.push_back(record);
  }
  return kept;
}

/// `answer`, of the given age, with the owner's aliases that led to it.
Answer behind(const Answer& aliases, const Answer& answer, std::chrono::seconds age) {
  Answer whole = answer;
  whole.records = aliases.records;
  // Only what came from outside has aged.
  for (auto& record : whole.records) {
    record.ttl_seconds += static_cast<std::uint32_t>(age.count());
  }
  whole.records.insert(whole.records.end(), answer.records.begin(), answer.records.end());
  whole.names.insert(whole.names.end(), aliases.names.begin(), aliases.names.end());
  return whole;
}

std::optional<ExtendedError> explanation_of(const Answer& answer) {
  if (answer.rcode != DnsRcode::server_failure) return std::nullopt;
  return ExtendedError{DnsExtendedError::no_reachable_authority, "no upstream resolver answered"};
}

}  // namespace

Service::Service(Loop& loop, HostNet& host, Options options, Hooks hooks)
    : loop_(loop),
      options_(std::move(options)),
      hooks_(std::move(hooks)),
      local_{LocalZone(options_.zone), {}},
      cache_(options_.cache_bytes),
      forwarder_(loop, host, counters_, options_.random) {}

void Service::query(ConstBytes message, Transport transport, const Client& client, ReplyTo reply) {
  ++(transport == Transport::udp ? counters_.queries_udp : counters_.queries_tcp);
  auto checked = check_query(message, transport, options_.max_udp_reply_bytes);
  if (checked.query) {
    answer({std::move(*checked.query), client, transport, std::move(reply)});
    return;
  }
  if (checked.error_reply.empty()) {
    ++counters_.ignored;
  } else {
    counters_.count_reply(checked.rcode);
  }
  reply(std::move(checked.error_reply));
}

void Service::answer(Waiter waiter) {
  const auto& question = waiter.query.question;
  auto name = question.name.domain();
  if (!name) return deny(waiter, LookupVerdict::nxdomain);

  auto local = local_.find(*name, question.type);
  Origin origin = local ? local->origin : Origin::upstream;
  if (auto verdict = judge(waiter, *name, origin); verdict != LookupVerdict::allow) {
    return deny(waiter, verdict);
  }
  if (question.type == DnsType::any) {
    return send(waiter, make_any(question.name), std::chrono::seconds(0), std::nullopt);
  }
  if (!local) {
    auto asked = question.name;
    return ask_outside(asked, std::move(waiter));
  }
  if (!local->outside) {
    ++counters_.local_answers;
    return tell(waiter, local->answer, std::chrono::seconds(0), origin);
  }
  auto verdict = judge(waiter, *local->outside, Origin::upstream);
  if (verdict != LookupVerdict::allow) return deny(waiter, verdict);
  waiter.aliases = std::make_shared<const Answer>(std::move(local->answer));
  ask_outside(DnsName(*local->outside), std::move(waiter));
}

LookupVerdict Service::judge(const Waiter& waiter, const DomainName& name, Origin origin) const {
  if (!hooks_.may_query) return LookupVerdict::allow;
  return hooks_.may_query({waiter.client, name, waiter.query.question.type, origin});
}

void Service::ask_outside(const DnsName& name, Waiter waiter) {
  QuestionKey key(name, waiter.query.question.type);
  if (auto hit = cache_.find(key, loop_.now())) {
    ++counters_.cache_hits;
    return tell(waiter, *hit->answer, hit->age, Origin::upstream);
  }
  wait_for_upstream(key, name, std::move(waiter));
}

void Service::deny(const Waiter& waiter, LookupVerdict verdict) {
  ++counters_.denied;
  const auto& name = waiter.query.question.name;
  if (verdict == LookupVerdict::refused) {
    Answer answer;
    answer.rcode = DnsRcode::refused;
    return send(waiter, answer, std::chrono::seconds(0),
                ExtendedError{DnsExtendedError::prohibited, "denied by policy"});
  }
  send(waiter, denial(name, DnsRcode::name_error), std::chrono::seconds(0),
       ExtendedError{DnsExtendedError::blocked, "denied by policy"});
}

void Service::wait_for_upstream(const QuestionKey& key, const DnsName& name, Waiter waiter) {
  auto open = waiting_.find(key);
  bool is_new = open == waiting_.end();
  if (waiting_queries_ >= options_.max_waiting_queries ||
      (is_new && waiting_.size() >= options_.max_open_questions)) {
    ++counters_.overloaded;
    return fail(waiter);
  }
  if (is_new) {
    forwarder_.resolve(
        {name.lowered(), waiter.query.question.type},
        [this, key](std::shared_ptr<const Answer> answer) { on_resolved(key, std::move(answer)); });
    open = waiting_.emplace(key, Waiters()).first;
  } else {
    ++counters_.coalesced;
  }
  ++waiting_queries_;
  open->second.push_back(std::move(waiter));
}

void Service::on_resolved(const QuestionKey& key, std::shared_ptr<const Answer> answer) {
  if (!answer) answer = std::make_shared<const Answer>(make_failure());
  cache_.insert(key, answer, loop_.now());
  auto waiters = std::move(waiting_.extract(key).mapped());
  waiting_queries_ -= waiters.size();
  for (const auto& waiter : waiters) {
    tell(waiter, *answer, std::chrono::seconds(0), Origin::upstream);
  }
}

void Service::fail(const Waiter& waiter) {
  send(waiter, make_failure(), std::chrono::seconds(0), std::nullopt);
}

void Service::tell(const Waiter& waiter, const Answer& found, std::chrono::seconds age,
                   Origin origin) {
  std::optional<Answer> whole;
  if (waiter.aliases) whole = behind(*waiter.aliases, found, age);
  const Answer& answer = whole ? *whole : found;
  auto addresses = addresses_of(answer, age);
  std::vector<std::size_t> removed;
  if (hooks_.on_answer && !addresses.empty()) {
    removed = hooks_.on_answer({waiter.client, answer.names, addresses, origin});
  }
  if (removed.empty()) return send(waiter, answer, age, explanation_of(answer));
  counters_.addresses_removed += removed.size();
  auto why = ExtendedError{DnsExtendedError::blocked, "addresses denied by policy"};
  if (removed.size() < addresses.size()) return send(waiter, without(answer, removed), age, why);
  auto rcode =
      options_.when_emptied == EmptiedAnswer::nxdomain ? DnsRcode::name_error : DnsRcode::no_error;
  send(waiter, denial(waiter.query.question.name, rcode), std::chrono::seconds(0), why);
}

Answer Service::denial(const DnsName& name, DnsRcode rcode) const {
  return make_negative(rcode, make_soa(name, DnsName(options_.zone), kDenialTtlSeconds));
}

void Service::send(const Waiter& waiter, const Answer& answer, std::chrono::seconds age,
                   std::optional<ExtendedError> error) {
  auto reply = build_reply(waiter.query, answer, age, error);
  if (reply.truncated) ++counters_.truncated;
  counters_.count_reply(answer.rcode);
  waiter.reply(std::move(reply.message));
}

void Service::set_upstreams(const std::vector<Endpoint>& endpoints) {
  auto before = forwarder_.upstreams().endpoints();
  forwarder_.set_upstreams(endpoints);
  if (forwarder_.upstreams().endpoints() != before) cache_.clear();
}

std::unique_ptr<StreamSocket> Service::open_session(const Client& client) {
  return std::make_unique<TcpSession>(loop_, client,
                                      [this, client](ConstBytes message, ReplyTo reply) {
                                        query(message, Transport::tcp, client, std::move(reply));
                                      });
}

}  // namespace sluice::dns
