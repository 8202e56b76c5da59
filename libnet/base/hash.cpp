#include "base/hash.h"

#include <sys/random.h>

#include <bit>
#include <cstdlib>
#include <cstring>
#include <utility>

namespace sluice {

void fill_random(Bytes out) {
  while (!out.empty()) {
    ssize_t n = ::getrandom(out.data(), out.size(), 0);
    // getrandom can't fail on a supported kernel once seeded; running on without secrets would be
    // worse than not running.
    if (n <= 0) std::abort();
    out = out.subspan(static_cast<std::size_t>(n));
  }
}

std::uint64_t random_u64() {
  // Many for one system call; each is given once and leaves nothing behind.
  thread_local std::array<std::uint64_t, 64> fresh;
  thread_local std::size_t left = 0;
  if (left == 0) {
    fill_random({reinterpret_cast<std::uint8_t*>(fresh.data()), sizeof fresh});
    left = fresh.size();
  }
  return std::exchange(fresh[--left], 0);
}

HashKey HashKey::random() {
  return {{random_u64(), random_u64()}};
}

std::uint64_t siphash(const HashKey& key, ConstBytes data) {
  std::uint64_t v0 = key.words[0] ^ 0x736f6d6570736575ULL;
  std::uint64_t v1 = key.words[1] ^ 0x646f72616e646f6dULL;
  std::uint64_t v2 = key.words[0] ^ 0x6c7967656e657261ULL;
  std::uint64_t v3 = key.words[1] ^ 0x7465646279746573ULL;
  auto round = [&] {
    v0 += v1;
    v1 = std::rotl(v1, 13) ^ v0;
    v0 = std::rotl(v0, 32);
    v2 += v3;
    v3 = std::rotl(v3, 16) ^ v2;
    v0 += v3;
    v3 = std::rotl(v3, 21) ^ v0;
    v2 += v1;
    v1 = std::rotl(v1, 17) ^ v2;
    v2 = std::rotl(v2, 32);
  };
  auto absorb = [&](std::uint64_t word) {
    v3 ^= word;
    round();
    round();
    v0 ^= word;
  };
  std::uint64_t last = static_cast<std::uint64_t>(data.size()) << 56;
  for (; data.size() >= 8; data = data.subspan(8)) {
    std::uint64_t word;
    std::memcpy(&word, data.data(), sizeof word);
    absorb(word);
  }
  for (std::size_t i = 0; i < data.size(); ++i) {
    last |= static_cast<std::uint64_t>(data[i]) << (8 * i);
  }
  absorb(last);
  v2 ^= 0xff;
  for (int i = 0; i < 4; ++i) round();
  return v0 ^ v1 ^ v2 ^ v3;
}

}  // namespace sluice
