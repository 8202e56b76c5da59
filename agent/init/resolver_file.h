#pragma once

#include <net/status.h>

#include <optional>
#include <string>

#include "agent/net/network_state.h"

namespace sluice::agent {

/// What /etc/resolv.conf says: `own`, the address of the guest's own resolver, where it runs; else
/// the first three resolvers, as more are not asked. And the search list (resolv.conf(5)).
std::string resolver_text(const NetworkState& network, const std::optional<IpAddress>& own);

}  // namespace sluice::agent
