// Any bytes on a serial line, cut anywhere, decode the same; what was escaped comes back; and a
// reset is seen whatever was before it.

#include <string>

#include "agent/rpc/serial_link.h"
#include "check.h"

using namespace sluice;
using namespace sluice::agent::rpc;

namespace {

struct Seen {
  std::string bytes;  ///< With a mark where a reset was.
  std::string nonces;
  std::size_t resets = 0;
  bool operator==(const Seen&) const = default;
};

Seen decode(ConstBytes all, std::size_t piece) {
  SerialDecoder decoder;
  Seen seen;
  for (std::size_t at = 0; at < all.size(); at += piece) {
    ConstBytes rest = all.subspan(at, std::min(piece, all.size() - at));
    while (!rest.empty()) {
      // In place, as the link does; a block of just that size.
      std::vector<std::uint8_t> place(rest.begin(), rest.end());
      auto step = decoder.decode(place, place.data());
      FUZZ_CHECK(step.taken > 0 && step.taken <= rest.size() && step.made <= step.taken);
      FUZZ_CHECK(step.reset || step.taken == rest.size());
      seen.bytes.append(place.begin(), place.begin() + static_cast<std::ptrdiff_t>(step.made));
      if (step.reset) {
        ++seen.resets;
        seen.bytes += '|';
        for (std::uint8_t byte : decoder.nonce()) {
          FUZZ_CHECK(byte != kSerialEscape);
          seen.nonces += static_cast<char>(byte);
        }
      }
      rest = rest.subspan(step.taken);
    }
  }
  return seen;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ConstBytes in(data, size);
  Seen whole = decode(in, std::max<std::size_t>(size, 1));
  FUZZ_CHECK(decode(in, 1) == whole);
  FUZZ_CHECK(decode(in, 7) == whole);

  std::vector<std::uint8_t> escaped;
  serial_escape(escaped, in);
  Seen back = decode(escaped, 3);
  FUZZ_CHECK(back.resets == 0 && back.bytes == std::string(in.begin(), in.end()));

  constexpr SerialNonce kNonce{1, 2, 3, 4, 5, 6, 7, 8};
  std::vector<std::uint8_t> begun(in.begin(), in.end());
  serial_reset(begun, kNonce);
  begun.insert(begun.end(), escaped.begin(), escaped.end());
  Seen anew = decode(begun, 5);
  FUZZ_CHECK(anew.nonces.ends_with(std::string(kNonce.begin(), kNonce.end())));
  FUZZ_CHECK(anew.bytes.ends_with("|" + back.bytes));
  return 0;
}
