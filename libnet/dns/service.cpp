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
/// RFC 8767 section 4.
constexpr std::uint32_t kStaleTtlSeconds = 30;
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

bool is_allowed(LookupVerdict verdict) {
  return verdict == LookupVerdict::allow || verdict == LookupVerdict::allow_below;
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
      cache_(options_.cache_bytes, options_.stale_if_error),
      limiter_(options_.limits),
      forwarder_(loop, host, counters_, options_.random, options_.tls_trust) {}

void Service::query(ConstBytes message, Transport transport, const Client& client, ReplyTo reply) {
  ++(transport == Transport::udp ? counters_.queries_udp : counters_.queries_tcp);
  auto checked = check_query(message, transport, options_.max_udp_reply_bytes);
  if (checked.query) {
    answer({.query = std::move(*checked.query),
            .client = client,
            .transport = transport,
            .reply = std::move(reply)});
    return;
  }
  if (checked.error_reply.empty()) {
    ++counters_.ignored;
  } else {
    counters_.count_reply(checked.rcode);
  }
  reply(std::move(checked.error_reply));
}

void Service::look_up(const DomainName& name, Family family, const Client& client,
                      AddressesTo done) {
  Query query;
  query.question = {DnsName(name), family == Family::v4 ? DnsType::a : DnsType::aaaa,
                    wire::DnsClass::internet};
  answer({.query = std::move(query),
          .client = client,
          .transport = Transport::tcp,
          .addresses = std::move(done)});
}

void Service::answer(Waiter waiter) {
  const auto& question = waiter.query.question;
  auto name = question.name.domain();
  if (!name) return deny(waiter, LookupVerdict::blocked);

  auto local = local_.find(*name, question.type);
  Origin origin = local ? local->origin : Origin::upstream;
  auto verdict = judge(waiter, *name, origin);
  if (!is_allowed(verdict)) return deny(waiter, verdict);
  if (question.type == DnsType::any) {
    return send(waiter, make_any(question.name), std::chrono::seconds(0), std::nullopt);
  }
  if (local && !local->outside) {
    ++counters_.local_answers;
    return tell(waiter, local->answer, std::chrono::seconds(0), origin);
  }
  waiter.name = std::move(*name);
  if (local) {
    waiter.name = std::move(*local->outside);
    waiter.aliases = std::make_shared<const Answer>(std::move(local->answer));
    verdict = judge(waiter, waiter.name, Origin::upstream);
    if (!is_allowed(verdict)) return deny(waiter, verdict);
  }
  ask_outside(verdict, std::move(waiter));
}

LookupVerdict Service::judge(const Waiter& waiter, const DomainName& name, Origin origin) const {
  if (!hooks_.may_query) return LookupVerdict::allow;
  return hooks_.may_query({waiter.client, name, waiter.query.question.type, origin});
}

void Service::ask_outside(LookupVerdict verdict, Waiter waiter) {
  QuestionKey key(waiter.name, waiter.query.question.type);
  if (auto hit = cache_.find(key, loop_.now())) {
    ++counters_.cache_hits;
    auto excess = limiter_.check_cached(lookup_of(waiter), *hit->answer, loop_.now());
    return excess ? exceed(waiter, *excess) : tell_cached(waiter, *hit);
  }
  bool below_rule = verdict == LookupVerdict::allow_below;
  if (auto excess = limiter_.count_query(lookup_of(waiter), below_rule, loop_.now())) {
    return exceed(waiter, *excess);
  }
  wait_for_upstream(key, std::move(waiter));
}

Lookup Service::lookup_of(const Waiter& waiter) {
  return {waiter.client, waiter.name, waiter.query.question.type, Origin::upstream};
}

void Service::exceed(const Waiter& waiter, const Limiter::Excess& excess) {
  ++counters_.limited;
  if (excess.is_first && hooks_.on_limit) hooks_.on_limit(lookup_of(waiter), excess.limit);
  send(waiter, make_failure(), std::chrono::seconds(0),
       ExtendedError{DnsExtendedError::prohibited, "over a limit on lookups"});
}

void Service::deny(const Waiter& waiter, LookupVerdict verdict) {
  ++counters_.denied;
  auto error = verdict == LookupVerdict::blocked
                   ? ExtendedError{DnsExtendedError::blocked, "denied by a rule"}
                   : ExtendedError{DnsExtendedError::prohibited, "no rule allows this name"};
  if (options_.denied_names == DeniedNames::refused) {
    Answer answer;
    answer.rcode = DnsRcode::refused;
    return send(waiter, answer, std::chrono::seconds(0), error);
  }
  send(waiter, denial(waiter.query.question.name, DnsRcode::name_error), std::chrono::seconds(0),
       error);
}

void Service::wait_for_upstream(const QuestionKey& key, Waiter waiter) {
  auto open = waiting_.find(key);
  bool is_new = open == waiting_.end();
  if (waiting_queries_ >= options_.max_waiting_queries ||
      (is_new && waiting_.size() >= options_.max_open_questions)) {
    ++counters_.overloaded;
    return fail(waiter);
  }
  if (is_new) {
    forwarder_.resolve(
        {DnsName(waiter.name), waiter.query.question.type}, upstreams_.for_name(waiter.name),
        [this, key](std::shared_ptr<const Answer> answer) { on_resolved(key, std::move(answer)); });
    open = waiting_.emplace(key, Waiters()).first;
  } else {
    ++counters_.coalesced;
  }
  ++waiting_queries_;
  open->second.push_back(std::move(waiter));
}

void Service::judge_again() {
  std::vector<std::pair<Waiter, LookupVerdict>> denied;
  for (auto open = waiting_.begin(); open != waiting_.end();) {
    Waiters& waiters = open->second;
    Waiters kept;
    for (Waiter& waiter : waiters) {
      auto verdict = judge(waiter, waiter.name, Origin::upstream);
      if (is_allowed(verdict)) {
        kept.push_back(std::move(waiter));
      } else {
        denied.emplace_back(std::move(waiter), verdict);
      }
    }
    waiters = std::move(kept);
    if (!waiters.empty()) {
      ++open;
      continue;
    }
    const Waiter& last = denied.back().first;
    forwarder_.drop({DnsName(last.name), last.query.question.type});
    open = waiting_.erase(open);
  }
  waiting_queries_ -= denied.size();
  // Whoever is told may ask again at once.
  for (const auto& [waiter, verdict] : denied) deny(waiter, verdict);
}

void Service::on_resolved(const QuestionKey& key, std::shared_ptr<const Answer> answer) {
  auto stale = answer ? std::nullopt : cache_.note_failure(key, loop_.now());
  if (!stale) {
    if (!answer) answer = std::make_shared<const Answer>(make_failure());
    cache_.insert(key, answer, loop_.now());
  }
  auto waiters = std::move(waiting_.extract(key).mapped());
  waiting_queries_ -= waiters.size();
  for (const auto& waiter : waiters) {
    if (stale) {
      tell_cached(waiter, *stale);
    } else if (auto excess = limiter_.count_answer(lookup_of(waiter), *answer, loop_.now())) {
      exceed(waiter, *excess);
    } else {
      tell(waiter, *answer, std::chrono::seconds(0), Origin::upstream, explanation_of(*answer));
    }
  }
}

void Service::fail(const Waiter& waiter) {
  send(waiter, make_failure(), std::chrono::seconds(0), std::nullopt);
}

void Service::tell_cached(const Waiter& waiter, const Cache::Hit& hit) {
  if (hit.freshness == Cache::Freshness::fresh) {
    return tell(waiter, *hit.answer, hit.age, Origin::upstream, explanation_of(*hit.answer));
  }
  ++counters_.stale_answers;
  Answer answer = *hit.answer;
  for (auto& record : answer.records) record.ttl_seconds = kStaleTtlSeconds;
  tell(waiter, answer, std::chrono::seconds(0), Origin::upstream,
       ExtendedError{DnsExtendedError::stale_answer, "no upstream resolver answered"});
}

void Service::tell(const Waiter& waiter, const Answer& found, std::chrono::seconds age,
                   Origin origin, std::optional<ExtendedError> explanation) {
  std::optional<Answer> whole;
  if (waiter.aliases) whole = behind(*waiter.aliases, found, age);
  const Answer& answer = whole ? *whole : found;
  auto addresses = addresses_of(answer, age);
  std::vector<std::size_t> removed;
  if (hooks_.on_answer && !addresses.empty()) {
    removed = hooks_.on_answer({waiter.client, answer.names, addresses, origin});
  }
  if (removed.empty()) return send(waiter, answer, age, explanation);
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
  if (waiter.addresses) {
    std::vector<IpAddress> addresses;
    for (const BoundAddress& bound : addresses_of(answer, age)) addresses.push_back(bound.address);
    return waiter.addresses(addresses);
  }
  auto reply = build_reply(waiter.query, answer, age, error);
  if (reply.truncated) ++counters_.truncated;
  counters_.count_reply(answer.rcode);
  waiter.reply(std::move(reply.message));
}

void Service::set_upstreams(const std::vector<DnsResolver>& resolvers) {
  if (upstreams_.set_general(resolvers)) cache_.clear();
}

void Service::set_split(const std::vector<DnsSplit>& zones) {
  if (upstreams_.set_zones(zones)) cache_.clear();
}

std::unique_ptr<StreamSocket> Service::open_session(const Client& client) {
  return std::make_unique<TcpSession>(loop_, client,
                                      [this, client](ConstBytes message, ReplyTo reply) {
                                        query(message, Transport::tcp, client, std::move(reply));
                                      });
}

}  // namespace sluice::dns
