#pragma once

#include <net/network.h>

namespace sluice::hostd {

/// What leads from the DNS settings of one configuration to those of another. What the API changed
/// in between is not in it, and so stays.
DnsChange dns_difference(const NetworkConfig& before, const NetworkConfig& after);

}  // namespace sluice::hostd
