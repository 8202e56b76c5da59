#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include <net/inspect.h>
#include <net/network.h>
#include <net/status.h>

#include "base/loop.h"
#include "core/gatekeeper.h"
#include "dns/service.h"

namespace sluice::core {

/// A policy for people.
PolicyInfo describe_policy(const policy::Policy& policy);

/// Looks at a running Network for people: what the policy is, what it would say and why, which
/// names are bound. Changes nothing. On the loop's thread, for the length of a call.
class Inspector {
 public:
  Inspector(Loop& loop, Gatekeeper& gatekeeper, const dns::Service& dns,
            const NetworkConfig& config)
      : loop_(loop), gatekeeper_(gatekeeper), dns_(dns), config_(config) {}

  PolicyInfo policy() const;
  std::vector<NameBinding> bindings() const;
  DnsInfo dns() const;
  std::vector<DnsRecord> dns_records() const;
  /// See Network::check_policy().
  Result<PolicyAnswer> check(std::string_view question) const;

 private:
  Judgement explain(std::string subject, const Verdict& verdict, policy::Judged judged) const;
  // `inner`: who asks, see policy::Query.
  Judgement judge_flow(Direction direction, Protocol protocol, const Endpoint& remote,
                       const std::optional<IpAddress>& inner) const;
  PolicyAnswer check_name(const DomainName& name, Protocol protocol, Port port,
                          const std::optional<IpAddress>& inner) const;
  Judgement judge_lookup(const DomainName& name, const std::optional<IpAddress>& inner) const;

  Loop& loop_;
  Gatekeeper& gatekeeper_;
  const dns::Service& dns_;
  const NetworkConfig& config_;  ///< As it is now.
};

}  // namespace sluice::core
