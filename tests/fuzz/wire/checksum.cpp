// Checksums by every way that there is, against the textbook loop.

#include <cstddef>
#include <cstdint>

#include "check.h"
#include "wire/checksum.h"

namespace {

using namespace sluice;

std::uint16_t naive(ConstBytes data) {
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i < data.size(); ++i) {
    sum += i % 2 == 0 ? static_cast<std::uint32_t>(data[i]) << 8 : data[i];
    sum = (sum & 0xffff) + (sum >> 16);
  }
  return static_cast<std::uint16_t>(~sum);
}

/// 0 and 0xffff are one number; which of them comes out may differ by the way taken.
bool same(std::uint16_t a, std::uint16_t b) {
  return a == b || (a % 0xffff == 0 && b % 0xffff == 0);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  // The first two bytes choose where the rest is cut in three.
  ConstBytes body(data + 2, size - 2);
  std::size_t first = body.empty() ? 0 : data[0] * body.size() / 256;
  std::size_t second = body.empty() ? 0 : data[1] * (body.size() - first) / 256;
  std::uint16_t want = naive(body);

  wire::Checksum whole, pieces;
  whole.add(body);
  pieces.add(body.first(first));
  pieces.add(body.subspan(first, second));
  pieces.add(body.subspan(first + second));
  FUZZ_CHECK(same(whole.value(), want));
  FUZZ_CHECK(same(pieces.value(), want));
  FUZZ_CHECK(wire::checksum_fold(wire::checksum_add(body, 0)) % 0xffff ==
             wire::checksum_fold(wire::checksum_add_portable(body, 0)) % 0xffff);

  if (body.size() >= 4) {
    // Replace the first word by the second and keep the checksum right along the way.
    wire::Checksum changed;
    changed.add(body.subspan(2, 2));
    changed.add(body.subspan(2));
    FUZZ_CHECK(same(wire::checksum_update(want, load_be16(body.data()), load_be16(body.data() + 2)),
                    changed.value()));
  }
  return 0;
}
