#pragma once

#include <functional>
#include <vector>

#include <net/address.h>
#include <net/name.h>
#include <net/status.h>

#include "agent/net/network_config.h"
#include "agent/rpc/call.h"

namespace sluice::agent {

/// Agent.ConfigureDns and Agent.ConfigureNetwork: what the host says in the place of what the
/// kernel's command line or the network says.
class ConfigureService {
 public:
  struct DnsOrder {
    DomainName suffix;  ///< The root: as it is.
    std::vector<Endpoint> upstreams;
    std::vector<DomainName> search;
  };
  struct DnsState {
    DomainName suffix;
    std::vector<Endpoint> upstreams;
  };
  struct Hooks {
    std::function<Result<DnsState>(const DnsOrder&)> dns;  ///< Empty: no resolver runs here.
    std::function<Status(const NetworkConfig&)> network;   ///< Empty: not ours to configure.
  };

  explicit ConfigureService(Hooks hooks) : hooks_(std::move(hooks)) {}
  void add_to(rpc::Methods& methods);

 private:
  Hooks hooks_;
};

}  // namespace sluice::agent
