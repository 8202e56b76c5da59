#include "dns/forwarder.h"

#include <algorithm>

#include "dns/exchange.h"

namespace sluice::dns {

namespace {

constexpr std::size_t kRounds = 2;

}  // namespace

Forwarder::Forwarder(Loop& loop, HostNet& host, Counters& counters, RandomSource random,
                     std::shared_ptr<const TlsTrust> trust)
    : loop_(loop),
      host_(host),
      counters_(counters),
      random_(std::move(random)),
      sockets_(loop, host, random_),
      tls_(loop, host, counters, random_, std::move(trust)) {}

void Forwarder::resolve(UpstreamQuery::Question question, std::shared_ptr<Upstreams> upstreams,
                        Done done) {
  auto job = jobs_.emplace(jobs_.end());
  job->question = std::move(question);
  job->upstreams = std::move(upstreams);
  job->done = std::move(done);
  job->started = loop_.now();
  job->order = job->upstreams->order(job->started);
  job->ruled_out.resize(job->order.size());
  job->timer = loop_.make_timer([this, job] { on_timer(job); });
  ask_next(job);
}

void Forwarder::drop(const UpstreamQuery::Question& question) {
  jobs_.remove_if([&](const Job& job) {
    return job.question.type == question.type && job.question.name == question.name;
  });
}

void Forwarder::ask_next(JobRef job) {
  std::size_t limit = std::min(kRounds * job->order.size(), kMaxAttempts);
  while (job->attempts < limit) {
    std::size_t upstream = job->attempts++ % job->order.size();
    if (job->ruled_out[upstream]) continue;
    if (ask(job, upstream)) {
      Duration wait = job->attempts < job->order.size() ? kHedge : kPatience;
      job->timer->start(std::min(wait, job->started + kDeadline - loop_.now()));
      return;
    }
    job->ruled_out[upstream] = true;
    ++counters_.upstream_errors;
  }
  // What is open may answer until the end; with nothing open, this is the end.
  job->timer->start(job->open.empty() ? Duration::zero() : job->started + kDeadline - loop_.now());
}

bool Forwarder::ask(JobRef job, std::size_t upstream) {
  const DnsResolver& resolver = job->order[upstream];
  auto attempt = job->open.emplace(job->open.end());
  attempt->upstream = upstream;
  attempt->query =
      make_query(resolver, job->question,
                 [this, job, attempt](UpstreamQuery::Outcome outcome, std::optional<Answer> answer,
                                      std::string_view why) {
                   on_outcome(job, attempt, outcome, std::move(answer), why);
                 });
  if (attempt->query && attempt->query->start()) return true;
  job->upstreams->note_refusal(resolver,
                               attempt->query ? attempt->query->waits_for() : tls_.problem());
  job->open.erase(attempt);
  return false;
}

std::unique_ptr<UpstreamQuery> Forwarder::make_query(const DnsResolver& resolver,
                                                     const UpstreamQuery::Question& question,
                                                     UpstreamQuery::Done done) {
  if (!resolver.uses_tls()) {
    return std::make_unique<Exchange>(host_, sockets_, counters_, random_, resolver.endpoint,
                                      question, std::move(done));
  }
  auto upstream = tls_.upstream(resolver);
  if (!upstream) return nullptr;
  return std::make_unique<TlsQuery>(std::move(upstream), question, std::move(done));
}

void Forwarder::on_outcome(JobRef job, std::list<Attempt>::iterator attempt,
                           UpstreamQuery::Outcome outcome, std::optional<Answer> answer,
                           std::string_view why) {
  std::size_t upstream = attempt->upstream;
  if (answer) {
    ++counters_.upstream_answers;
    counters_.count_latency(loop_.now() - job->started);
    job->upstreams->note_answer(job->order[upstream]);
    finish(job, std::make_shared<const Answer>(std::move(*answer)));
    return;
  }
  ++counters_.upstream_errors;
  if (outcome == UpstreamQuery::Outcome::failed) {
    job->upstreams->note_silence(job->order[upstream], why, loop_.now());
  } else {
    job->upstreams->note_refusal(job->order[upstream], why);
  }
  job->ruled_out[upstream] = true;
  job->open.erase(attempt);
  ask_next(job);
}

void Forwarder::on_timer(JobRef job) {
  if (!job->open.empty()) {
    ++counters_.upstream_timeouts;
    const Attempt& latest = job->open.back();
    job->upstreams->note_silence(job->order[latest.upstream], latest.query->waits_for(),
                                 loop_.now());
  }
  if (job->open.empty() || loop_.now() - job->started >= kDeadline) {
    finish(job, nullptr);
  } else {
    ask_next(job);
  }
}

void Forwarder::finish(JobRef job, std::shared_ptr<const Answer> answer) {
  auto done = std::move(job->done);
  jobs_.erase(job);
  done(std::move(answer));
}

}  // namespace sluice::dns
