#pragma once

#include "agent/dns/guest_dns.h"
#include "agent/ports/port_watch.h"
#include "agent/rpc/call.h"
#include "base/host_net.h"
#include "base/loop.h"

namespace sluice::agent {

/// The service Network: names, ports and connections of the guest.
class NetworkService {
 public:
  /// All outlive it and the connections whose calls it serves. `dns` is null where the guest's
  /// resolver does not run.
  NetworkService(Loop& loop, HostNet& host, GuestDns* dns, const PortNamespaces& namespaces)
      : loop_(loop), host_(host), dns_(dns), namespaces_(namespaces) {}

  void add_to(rpc::Methods& methods);

 private:
  /// Calls of the registry need the resolver; false where the call has been answered.
  bool needs_dns(rpc::Call& call) const;

  Loop& loop_;
  HostNet& host_;
  GuestDns* dns_;
  const PortNamespaces& namespaces_;
};

/// Counters by the names that calls and metrics tell them by.
struct NamedCounter {
  const char* name;
  std::uint64_t DnsCounters::* value;
};
const std::vector<NamedCounter>& named_dns_counters();

}  // namespace sluice::agent
