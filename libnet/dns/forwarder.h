#pragma once

#include <functional>
#include <list>
#include <memory>
#include <string_view>
#include <vector>

#include "base/host_net.h"
#include "base/loop.h"
#include "dns/counters.h"
#include "dns/query_sockets.h"
#include "dns/tls_pool.h"
#include "dns/upstream_query.h"
#include "dns/upstreams.h"

namespace sluice::dns {

/// Gets a question answered by any of the upstream resolvers.
///
/// They are asked one after the other, `kHedge` apart, while those asked before may still answer:
/// the first answer wins. A resolver that says it can't (SERVFAIL, REFUSED) or that can't be
/// reached brings on the next at once and is not asked again. Once all were asked, whoever is
/// silent gets a second chance, `kPatience` apart, since only a loss is mended by asking the same
/// one again. After `kDeadline`, before the common resolver library gives up on us (5 s), it is
/// over.
class Forwarder {
 public:
  /// Longer than a warm resolver anywhere on Earth takes, shorter than people notice.
  static constexpr Duration kHedge = std::chrono::milliseconds(300);
  static constexpr Duration kPatience = std::chrono::seconds(1);
  static constexpr Duration kDeadline = std::chrono::milliseconds(4500);
  /// Bounds the sockets of one question.
  static constexpr std::size_t kMaxAttempts = 6;

  /// nullptr: nobody answered. Called once, in a later turn of the loop than resolve(); never when
  /// the Forwarder is destroyed before.
  using Done = std::function<void(std::shared_ptr<const Answer> answer)>;

  /// All references outlive it. `trust`: see TlsPool.
  Forwarder(Loop& loop, HostNet& host, Counters& counters, RandomSource random,
            std::shared_ptr<const TlsTrust> trust);

  /// Asks `upstreams` and no others, and notes there how they do.
  void resolve(UpstreamQuery::Question question, std::shared_ptr<Upstreams> upstreams, Done done);
  /// Ends the work on a question, so that nobody is asked it any more; its `done` is not called.
  void drop(const UpstreamQuery::Question& question);

 private:
  struct Attempt {
    std::size_t upstream;  ///< Index in the job's order.
    std::unique_ptr<UpstreamQuery> query;
  };
  struct Job {
    UpstreamQuery::Question question;
    std::shared_ptr<Upstreams> upstreams;
    Done done;
    TimePoint started;
    std::vector<DnsResolver> order;
    std::vector<bool> ruled_out;  ///< As `order`.
    std::size_t attempts = 0;
    std::list<Attempt> open;
    std::unique_ptr<Timer> timer;
  };
  using JobRef = std::list<Job>::iterator;

  void ask_next(JobRef job);
  bool ask(JobRef job, std::size_t upstream);
  std::unique_ptr<UpstreamQuery> make_query(const DnsResolver& resolver,
                                            const UpstreamQuery::Question& question,
                                            UpstreamQuery::Done done);
  void on_outcome(JobRef job, std::list<Attempt>::iterator attempt, UpstreamQuery::Outcome outcome,
                  std::optional<Answer> answer, std::string_view why);
  void on_timer(JobRef job);
  void finish(JobRef job, std::shared_ptr<const Answer> answer);

  Loop& loop_;
  HostNet& host_;
  Counters& counters_;
  RandomSource random_;
  QuerySockets sockets_;
  TlsPool tls_;
  std::list<Job> jobs_;
};

}  // namespace sluice::dns
