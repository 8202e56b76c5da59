#pragma once

#include <net/network.h>
#include <net/status.h>

#include "gateway/config.h"

namespace sluice::core {

/// The router's configuration that `config` asks for, defaults filled in. The error names the
/// setting, its value and the fix.
Result<gateway::Config> make_gateway_config(const NetworkConfig& config);

}  // namespace sluice::core
