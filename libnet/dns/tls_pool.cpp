#include "dns/tls_pool.h"

#include <utility>

namespace sluice::dns {

TlsPool::TlsPool(Loop& loop, HostNet& host, Counters& counters, RandomSource random,
                 std::shared_ptr<const TlsTrust> trust)
    : loop_(loop),
      host_(host),
      counters_(counters),
      random_(std::move(random)),
      trust_(std::move(trust)) {}

std::shared_ptr<TlsUpstream> TlsPool::upstream(const DnsResolver& resolver) {
  std::string key = resolver.to_string();
  if (auto found = upstreams_.find(key); found != upstreams_.end()) return found->second;
  if (!trust_) {
    auto trust = TlsTrust::load("");
    if (!trust) {
      problem_ = trust.status().message();
      return nullptr;
    }
    trust_ = std::move(*trust);
  }
  // Of resolvers that nobody asks any more, once their connection has closed itself.
  std::erase_if(upstreams_, [](const auto& entry) {
    return entry.second.use_count() == 1 && entry.second->is_closed();
  });
  auto made = std::make_shared<TlsUpstream>(loop_, host_, counters_, random_, resolver, trust_);
  upstreams_.emplace(std::move(key), made);
  return made;
}

}  // namespace sluice::dns
