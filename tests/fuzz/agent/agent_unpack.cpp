// Any bytes as something packed: the same comes out however they are cut, and no more than was
// allowed. The first byte chooses whose magic they get.

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "agent/archive/decompress.h"
#include "check.h"

using namespace sluice;
using namespace sluice::agent;

namespace {

constexpr std::uint64_t kMost = std::uint64_t{1} << 20;

struct Seen {
  std::string text;
  bool ok = false;
};

Seen unpack(ConstBytes in, std::size_t in_piece, std::size_t out_piece) {
  MemorySource source(in, in_piece);
  Seen seen;
  auto stream = decompressed(source);
  FUZZ_CHECK(stream);
  Allowance allowance(kMost);
  MeteredSource metered(**stream, allowance);
  std::vector<std::uint8_t> piece(out_piece);
  for (;;) {
    auto got = metered.read(piece);
    if (!got) {
      FUZZ_CHECK(got.status().code() == StatusCode::invalid_argument ||
                 got.status().code() == StatusCode::exhausted);
      return seen;
    }
    seen.ok = *got == 0;
    if (*got == 0) return seen;
    seen.text.append(piece.begin(), piece.begin() + static_cast<std::ptrdiff_t>(*got));
    FUZZ_CHECK(seen.text.size() <= kMost);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  static constexpr std::array<std::array<std::uint8_t, 4>, 2> kMagics{
      {{0x1F, 0x8B, 8, 0}, {0x28, 0xB5, 0x2F, 0xFD}}};
  std::vector<std::uint8_t> in(data + 1, data + size);
  if (data[0] % 4 < kMagics.size()) {
    const auto& magic = kMagics[data[0] % 4];
    in.insert(in.begin(), magic.begin(), magic.end());
  }
  Seen whole = unpack(in, SIZE_MAX, 65536);
  Seen cut = unpack(in, 5, 777);
  // Where it ends in an error more or less may have come out before.
  FUZZ_CHECK(whole.ok == cut.ok);
  FUZZ_CHECK(!whole.ok || whole.text == cut.text);
  return 0;
}
