#pragma once

#include <cstdint>
#include <string_view>

#include <net/network.h>
#include <net/status.h>

#include "gateway/config.h"

namespace sluice::core {

/// NetworkConfig::mtu from text. The error says the range.
Result<std::uint16_t> parse_mtu(std::string_view text);

/// The router's configuration that `config` asks for, defaults filled in. The error begins with
/// the setting's name, which is a flag of hostd's too, and its value, and says the fix.
Result<gateway::Config> make_gateway_config(const NetworkConfig& config);

}  // namespace sluice::core
