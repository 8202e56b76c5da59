#pragma once

#include <functional>
#include <memory>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <net/dns.h>

#include "base/host_net.h"
#include "base/loop.h"
#include "dns/cache.h"
#include "dns/counters.h"
#include "dns/forwarder.h"
#include "dns/hooks.h"
#include "dns/limiter.h"
#include "dns/local_names.h"
#include "dns/query.h"
#include "dns/split_upstreams.h"

namespace sluice::dns {

/// What a client is told when on_answer removed every address.
enum class EmptiedAnswer : std::uint8_t {
  no_data,  ///< The name exists, without addresses: spares its other family (musl asks for both).
  nxdomain,
};

struct Options {
  DomainName zone = *DomainName::parse("vm.internal");
  std::size_t cache_bytes = std::size_t{4} << 20;
  /// Questions that wait for upstreams at the same time: each holds up to 6 sockets.
  std::size_t max_open_questions = 256;
  /// Queries that wait for those questions.
  std::size_t max_waiting_queries = 1024;
  /// Bounds UDP replies whatever size the client offers; 512 to 65535.
  std::size_t max_udp_reply_bytes = wire::kDnsEdnsUdpBytes;
  EmptiedAnswer when_emptied = EmptiedAnswer::no_data;
  DeniedNames denied_names = DeniedNames::nxdomain;
  DnsLimits limits;
  /// How long past its time an answer is given when every upstream fails (RFC 8767, which advises
  /// one to three days); 0: not at all.
  std::chrono::seconds stale_if_error{0};
  /// Ids and cases of upstream questions: unpredictable but in a test.
  RandomSource random = random_u64;
  /// For resolvers over TLS; nothing: the host's trust store, once one of them is asked.
  std::shared_ptr<const TlsTrust> tls_trust;
};

/// A forwarding DNS server without an opinion: it checks queries, answers its local names, asks the
/// hooks, keeps a cache and asks the upstream resolvers.
///
/// ```
///   query -> check -> local name? -> may_query -> cache -> forwarder -> upstreams
///   reply <------------------------------------- on_answer <-'
/// ```
/// An alias among the owner's records that leads outside is followed upstream where may_query lets
/// its target be asked.
///
/// A client's EDNS options, DO and CD bits go no further: an upstream sees a name and a type.
/// Answers are not DNSSEC-transparent. A name with bytes that DomainName refuses can be matched by
/// no rule, so it is denied as NXDOMAIN and never forwarded. Belongs to the loop's thread; outlives
/// its sessions.
class Service {
 public:
  /// `loop` and `host` outlive it.
  Service(Loop& loop, HostNet& host, Options options, Hooks hooks);

  /// Called once for every query unless the Service goes first, perhaps before query() returns.
  /// Empty: there is nothing to say to that message.
  using ReplyTo = std::function<void(std::vector<std::uint8_t> reply)>;
  /// `message`: without TCP's length prefix; the bytes are needed during the call only.
  void query(ConstBytes message, Transport transport, const Client& client, ReplyTo reply);

  using AddressesTo = std::function<void(const std::vector<IpAddress>& addresses)>;
  /// Asks for the client, as if it had asked for the addresses of a family: from the cache or the
  /// upstreams, counted and filtered. Called once unless the Service goes first, perhaps before
  /// look_up() returns; without addresses where there are none for the client, for whatever reason.
  void look_up(const DomainName& name, Family family, const Client& client, AddressesTo done);

  /// A connection to this server, for a relay to treat like a host's: RFC 7766 framing, pipelined,
  /// answered in the order in which answers come.
  std::unique_ptr<StreamSocket> open_session(const Client& client);

  /// Asks may_query again about the queries that wait for upstreams; who may not ask any more is
  /// told so, and a question that nobody else waits for is not put to any resolver again.
  void judge_again();

  LocalZone& local_zone() { return local_.zone; }
  /// Replaces the owner's records and zones, from the next query on.
  void set_records(RecordSet records) { local_.records = std::move(records); }
  const RecordSet& records() const { return local_.records; }
  /// In the order of preference; none: what is not local or cached is SERVFAIL. A change of the
  /// list drops the cache, because another network may have other answers.
  void set_upstreams(const std::vector<DnsResolver>& resolvers);
  /// Resolvers for zones, in place of those; a change drops the cache too.
  void set_split(const std::vector<DnsSplit>& zones);
  void flush_cache() { cache_.clear(); }
  const Upstreams& upstreams() const { return upstreams_.general(); }
  const SplitUpstreams& split() const { return upstreams_; }

  const Counters& counters() const { return counters_; }
  const Cache& cache() const { return cache_; }

 private:
  struct Waiter {
    Query query;
    Client client;
    Transport transport;
    ReplyTo reply;
    /// In place of `reply`, where no message asked.
    AddressesTo addresses;
    /// The name that is asked upstream.
    DomainName name;
    /// The owner's aliases from the name asked to the one that is asked upstream.
    std::shared_ptr<const Answer> aliases;
  };
  using Waiters = std::vector<Waiter>;

  void answer(Waiter waiter);
  /// From the cache or from the upstreams.
  void ask_outside(LookupVerdict verdict, Waiter waiter);
  LookupVerdict judge(const Waiter& waiter, const DomainName& name, Origin origin) const;
  void deny(const Waiter& waiter, LookupVerdict verdict);
  void wait_for_upstream(const QuestionKey& key, Waiter waiter);
  void on_resolved(const QuestionKey& key, std::shared_ptr<const Answer> answer);
  static Lookup lookup_of(const Waiter& waiter);
  void exceed(const Waiter& waiter, const Limiter::Excess& excess);
  void fail(const Waiter& waiter);
  /// Lets on_answer see the addresses, then replies.
  void tell(const Waiter& waiter, const Answer& found, std::chrono::seconds age, Origin origin,
            std::optional<ExtendedError> explanation = std::nullopt);
  void tell_cached(const Waiter& waiter, const Cache::Hit& hit);
  void send(const Waiter& waiter, const Answer& answer, std::chrono::seconds age,
            std::optional<ExtendedError> error);
  Answer denial(const wire::DnsName& name, wire::DnsRcode rcode) const;

  Loop& loop_;
  Options options_;
  Hooks hooks_;
  Counters counters_;
  LocalNames local_;
  Cache cache_;
  Limiter limiter_;
  std::unordered_map<QuestionKey, Waiters, QuestionHash> waiting_;
  std::size_t waiting_queries_ = 0;
  SplitUpstreams upstreams_;
  Forwarder forwarder_;
};

}  // namespace sluice::dns
