#pragma once

#include <net/status.h>

#include <string>

#include "agent/net/network_state.h"

namespace sluice::agent {

/// What /etc/resolv.conf says: the first three resolvers, as more are not asked, and the search
/// list (resolv.conf(5)).
std::string resolver_text(const NetworkState& network);

}  // namespace sluice::agent
