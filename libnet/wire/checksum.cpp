#include "wire/checksum.h"

#include <bit>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace sluice::wire {

namespace {

std::uint64_t add_carry(std::uint64_t a, std::uint64_t b) {
  std::uint64_t sum = a + b;
  return sum + (sum < a ? 1 : 0);
}

template <typename Word>
Word load(const std::uint8_t* p) {
  Word value;
  std::memcpy(&value, p, sizeof value);
  return value;
}

#if defined(__x86_64__)

// False until static initialisation has run, which is the safe answer.
const bool kHasAvx2 = __builtin_cpu_supports("avx2");

// Below this the set-up costs more than it saves.
constexpr std::size_t kSimdFrom = 128;

// 64-bit lanes take one 32-bit word a step, so they can't overflow below 2^32 steps (128 GiB).
__attribute__((target("avx2"))) std::uint64_t add_avx2(const std::uint8_t* p, std::size_t blocks) {
  const __m256i low_halves = _mm256_set1_epi64x(0xffffffff);
  __m256i a = _mm256_setzero_si256(), b = a, c = a, d = a;
  for (; blocks > 0; --blocks, p += 128) {
    const auto* v = reinterpret_cast<const __m256i*>(p);
    __m256i v0 = _mm256_loadu_si256(v), v1 = _mm256_loadu_si256(v + 1);
    __m256i v2 = _mm256_loadu_si256(v + 2), v3 = _mm256_loadu_si256(v + 3);
    a = _mm256_add_epi64(a, _mm256_and_si256(v0, low_halves));
    b = _mm256_add_epi64(b, _mm256_and_si256(v1, low_halves));
    c = _mm256_add_epi64(c, _mm256_and_si256(v2, low_halves));
    d = _mm256_add_epi64(d, _mm256_and_si256(v3, low_halves));
    a = _mm256_add_epi64(a, _mm256_srli_epi64(v0, 32));
    b = _mm256_add_epi64(b, _mm256_srli_epi64(v1, 32));
    c = _mm256_add_epi64(c, _mm256_srli_epi64(v2, 32));
    d = _mm256_add_epi64(d, _mm256_srli_epi64(v3, 32));
  }
  alignas(32) std::uint64_t lanes[4];
  __m256i all = _mm256_add_epi64(_mm256_add_epi64(a, b), _mm256_add_epi64(c, d));
  _mm256_store_si256(reinterpret_cast<__m256i*>(lanes), all);
  return add_carry(add_carry(lanes[0], lanes[1]), add_carry(lanes[2], lanes[3]));
}

#endif

}  // namespace

std::uint64_t checksum_add_portable(ConstBytes data, std::uint64_t sum) {
  const std::uint8_t* p = data.data();
  std::size_t n = data.size();
  // Two chains, so that one addition need not wait for the other's carry.
  std::uint64_t other = 0;
  for (; n >= 16; n -= 16, p += 16) {
    sum = add_carry(sum, load<std::uint64_t>(p));
    other = add_carry(other, load<std::uint64_t>(p + 8));
  }
  sum = add_carry(sum, other);
  if (n >= 8) {
    sum = add_carry(sum, load<std::uint64_t>(p));
    n -= 8;
    p += 8;
  }
  if (n >= 4) {
    sum = add_carry(sum, load<std::uint32_t>(p));
    n -= 4;
    p += 4;
  }
  if (n >= 2) {
    sum = add_carry(sum, load<std::uint16_t>(p));
    n -= 2;
    p += 2;
  }
  if (n > 0) {
    const std::uint8_t padded[2] = {*p, 0};
    sum = add_carry(sum, load<std::uint16_t>(padded));
  }
  return sum;
}

std::uint64_t checksum_add(ConstBytes data, std::uint64_t sum) {
#if defined(__x86_64__)
  if (kHasAvx2 && data.size() >= kSimdFrom) {
    std::size_t blocks = data.size() / 128;
    sum = add_carry(sum, add_avx2(data.data(), blocks));
    data = data.subspan(blocks * 128);
  }
#endif
  return checksum_add_portable(data, sum);
}

std::uint16_t checksum_fold(std::uint64_t sum) {
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<std::uint16_t>(sum);
}

void Checksum::add(ConstBytes data) {
  if (odd_) {
    std::uint16_t part = checksum_fold(checksum_add(data, 0));
    // One byte further on every byte changes its half of the word (RFC 1071 section 2, B).
    sum_ = add_carry(sum_, __builtin_bswap16(part));
  } else {
    sum_ = checksum_add(data, sum_);
  }
  odd_ ^= (data.size() & 1) != 0;
}

void Checksum::add_u16(std::uint16_t value) {
  std::uint8_t bytes[2];
  store_be16(bytes, value);
  add(bytes);
}

void Checksum::add_u32(std::uint32_t value) {
  std::uint8_t bytes[4];
  store_be32(bytes, value);
  add(bytes);
}

void Checksum::merge(const Checksum& other) {
  sum_ = add_carry(sum_, other.sum_);
}

std::uint16_t Checksum::value() const {
  auto field = static_cast<std::uint16_t>(~checksum_fold(sum_));
  return std::endian::native == std::endian::little ? __builtin_bswap16(field) : field;
}

Checksum pseudo_header(const IpAddress& source, const IpAddress& destination, IpProtocol protocol,
                       std::size_t length) {
  Checksum checksum;
  checksum.add(source.bytes());
  checksum.add(destination.bytes());
  // Both families' layouts sum to the same words: length, zeros and protocol.
  checksum.add_u32(static_cast<std::uint32_t>(length));
  checksum.add_u16(static_cast<std::uint8_t>(protocol));
  return checksum;
}

std::uint16_t checksum_update(std::uint16_t checksum, std::uint16_t old_word,
                              std::uint16_t new_word) {
  std::uint32_t sum = static_cast<std::uint16_t>(~checksum);
  sum += static_cast<std::uint16_t>(~old_word);
  sum += new_word;
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<std::uint16_t>(~sum);
}

std::uint16_t checksum_update_u32(std::uint16_t checksum, std::uint32_t old_value,
                                  std::uint32_t new_value) {
  checksum = checksum_update(checksum, static_cast<std::uint16_t>(old_value >> 16),
                             static_cast<std::uint16_t>(new_value >> 16));
  return checksum_update(checksum, static_cast<std::uint16_t>(old_value),
                         static_cast<std::uint16_t>(new_value));
}

}  // namespace sluice::wire
