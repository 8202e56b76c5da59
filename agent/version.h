#pragma once

#include <cstdint>

namespace sluice::agent {

inline constexpr const char* kVersion = SLUICE_VERSION;
/// Grows with what the protocol can do; a client looks at Ping's features for the parts.
inline constexpr std::uint32_t kProtocol = 1;

}  // namespace sluice::agent
