#pragma once

#include <net/network.h>
#include <net/status.h>

#include "gateway/config.h"

namespace sluice::core {

/// The router's configuration that `config` asks for, defaults filled in. The error begins with
/// the setting's name, which is a flag of hostd's too, and its value, and says the fix.
Result<gateway::Config> make_gateway_config(const NetworkConfig& config);

}  // namespace sluice::core
