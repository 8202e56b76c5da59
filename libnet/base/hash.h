#pragma once

#include <array>
#include <cstdint>

#include "base/bytes.h"

namespace sluice {

/// A secret for keyed hashes, so that a guest can't choose colliding keys or predict numbers.
struct HashKey {
  std::array<std::uint64_t, 2> words{};
  static HashKey random();
};

/// SipHash-2-4 (Aumasson, Bernstein 2012).
std::uint64_t siphash(const HashKey& key, ConstBytes data);

/// From the kernel's generator (getrandom). Any thread. Not for a process that goes on after
/// fork(): both would get the same.
std::uint64_t random_u64();
void fill_random(Bytes out);

}  // namespace sluice
