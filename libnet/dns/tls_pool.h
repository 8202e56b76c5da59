#pragma once

#include <map>
#include <memory>
#include <string>

#include "dns/tls_upstream.h"

namespace sluice::dns {

/// The connections to resolvers over TLS, one each, made when they are first needed.
class TlsPool {
 public:
  /// References outlive it. Without `trust` the host's trust store is read when it is needed.
  TlsPool(Loop& loop, HostNet& host, Counters& counters, RandomSource random,
          std::shared_ptr<const TlsTrust> trust);

  /// nullptr where there is no trust store; problem() says why.
  std::shared_ptr<TlsUpstream> upstream(const DnsResolver& resolver);
  const std::string& problem() const { return problem_; }

 private:
  Loop& loop_;
  HostNet& host_;
  Counters& counters_;
  RandomSource random_;
  std::shared_ptr<const TlsTrust> trust_;
  std::string problem_;
  std::map<std::string, std::shared_ptr<TlsUpstream>> upstreams_;
};

}  // namespace sluice::dns
