#include "wire/checksum.h"

#include <catch2/catch.hpp>
#include <vector>

#include "wire/packets.h"

using namespace sluice;
using namespace sluice::wire;

namespace {

std::uint16_t naive(ConstBytes data) {
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i < data.size(); ++i) {
    sum += i % 2 == 0 ? static_cast<std::uint32_t>(data[i]) << 8 : data[i];
    sum = (sum & 0xffff) + (sum >> 16);
  }
  return static_cast<std::uint16_t>(~sum);
}

std::uint16_t of(ConstBytes data) {
  Checksum sum;
  sum.add(data);
  return sum.value();
}

}  // namespace

TEST_CASE("the checksum of RFC 1071's example is right") {
  const std::uint8_t data[] = {0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};
  CHECK(of(data) == static_cast<std::uint16_t>(~0xddf2));
}

TEST_CASE("the checksum is the textbook's at every alignment and length") {
  auto memory = testing::pattern(700);
  for (std::size_t at = 0; at < 64; ++at) {
    for (std::size_t length = 0; length <= 600; ++length) {
      ConstBytes data = ConstBytes(memory).subspan(at, length);
      if (of(data) != naive(data)) FAIL("at " << at << ", length " << length);
      if (checksum_fold(checksum_add_portable(data, 0)) % 0xffff !=
          checksum_fold(checksum_add(data, 0)) % 0xffff) {
        FAIL("portable, at " << at << ", length " << length);
      }
    }
  }
}

TEST_CASE("a packet of all ones does not overflow the sum") {
  std::vector<std::uint8_t> ones(65535, 0xff);
  CHECK(of(ones) == naive(ones));
  CHECK(checksum_fold(checksum_add(ones, ~std::uint64_t{0})) ==
        checksum_fold(checksum_add_portable(ones, ~std::uint64_t{0})));
}

TEST_CASE("pieces of odd length add up to the whole") {
  auto memory = testing::pattern(900);
  for (std::size_t first = 0; first < 300; first += 7) {
    for (std::size_t second = 0; second < 300; second += 11) {
      Checksum pieces;
      pieces.add(ConstBytes(memory).first(first));
      pieces.add(ConstBytes(memory).subspan(first, second));
      pieces.add(ConstBytes(memory).subspan(first + second));
      if (pieces.value() != naive(memory)) FAIL("cut at " << first << " and " << second);
    }
  }
}

TEST_CASE("a changed word updates the checksum without the rest") {
  auto data = testing::pattern(40);
  std::uint16_t before = of(data);
  std::uint16_t old_word = load_be16(&data[10]);
  std::uint32_t old_value = load_be32(&data[20]);
  store_be16(&data[10], 0xbeef);
  std::uint16_t after = checksum_update(before, old_word, 0xbeef);
  CHECK(after == of(data));
  store_be32(&data[20], 0xdeadbeef);
  CHECK(checksum_update_u32(after, old_value, 0xdeadbeef) == of(data));
}

TEST_CASE("an update to a word that makes the sum zero gives RFC 1624's result") {
  // RFC 1624 section 4: 0xDD2F with 0x5555 changed to 0x3285 is 0x0000, not 0xFFFF.
  CHECK(checksum_update(0xdd2f, 0x5555, 0x3285) == 0x0000);
}
