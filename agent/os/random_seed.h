#pragma once

#include <net/status.h>

#include "base/bytes.h"

namespace sluice::agent {

inline constexpr std::size_t kLeastSeed = 16;
inline constexpr std::size_t kMostSeed = 512;

/// Gives the kernel's generator of random numbers a seed that nobody else knows, of kLeastSeed to
/// kMostSeed bytes, and has it begin anew at once (random(4), RNDADDENTROPY and RNDRESEEDCRNG).
/// permission_denied without CAP_SYS_ADMIN.
Status seed_random(ConstBytes seed);

}  // namespace sluice::agent
