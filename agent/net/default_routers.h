#pragma once

#include <vector>

#include <net/address.h>

namespace sluice::agent {

/// The routers of the kernel's default routes as they are now, of both families; none where it
/// can't be asked.
std::vector<IpAddress> default_routers();

}  // namespace sluice::agent
