#pragma once

#include <net/network.h>

#include <string_view>

namespace sluice::core {

/// Changes one setting of a configuration by its name; net/sluice.h lists them. not_found: no such
/// setting; invalid_argument: the value can't be used, and why.
Status apply_setting(NetworkConfig& config, std::string_view setting, std::string_view value);

}  // namespace sluice::core
