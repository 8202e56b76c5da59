#include "wire/dns_svcb.h"

#include <catch2/catch.hpp>

using sluice::wire::without_hints_and_ech;
using Data = std::vector<std::uint8_t>;

namespace {

Data joined(std::initializer_list<Data> parts) {
  Data out;
  for (const Data& part : parts) out.insert(out.end(), part.begin(), part.end());
  return out;
}

const Data kHead{0, 1, 1, 'a', 0};  // priority 1, target "a."
const Data kAlpn{0, 1, 0, 3, 2, 'h', '2'};
const Data kPort{0, 3, 0, 2, 0x20, 0xfb};
const Data kIpv4Hint{0, 4, 0, 4, 192, 0, 2, 1};
const Data kEch{0, 5, 0, 2, 7, 7};
const Data kIpv6Hint{0, 6, 0, 16, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};

}  // namespace

TEST_CASE("address hints and ECH keys leave an HTTPS record, all else stays as it was") {
  CHECK(without_hints_and_ech(joined({kHead, kAlpn, kPort, kIpv4Hint, kEch, kIpv6Hint})) ==
        joined({kHead, kAlpn, kPort}));
  CHECK(without_hints_and_ech(joined({kHead, kAlpn})) == joined({kHead, kAlpn}));
  CHECK(without_hints_and_ech(kHead) == kHead);
  CHECK(without_hints_and_ech(joined({kHead, kIpv4Hint})) == kHead);
}

TEST_CASE("a hint that has gone is not mandatory any more") {
  Data both{0, 0, 0, 4, 0, 1, 0, 4};
  CHECK(without_hints_and_ech(joined({kHead, both, kAlpn, kIpv4Hint})) ==
        joined({kHead, {0, 0, 0, 2, 0, 1}, kAlpn}));
  CHECK(without_hints_and_ech(joined({kHead, {0, 0, 0, 2, 0, 6}, kIpv6Hint})) == kHead);
}

TEST_CASE("an HTTPS record that is cut off or out of order is none") {
  Data whole = joined({kHead, kAlpn, kIpv4Hint});
  for (std::size_t size = 0; size < whole.size(); ++size) {
    bool at_a_border = size == kHead.size() || size == kHead.size() + kAlpn.size();
    INFO(size);
    CHECK(without_hints_and_ech(std::span(whole).first(size)).has_value() == at_a_border);
  }
  CHECK_FALSE(without_hints_and_ech(joined({kHead, kIpv4Hint, kAlpn})));
  CHECK_FALSE(without_hints_and_ech(joined({kHead, kAlpn, kAlpn})));
  CHECK_FALSE(without_hints_and_ech(joined({kHead, {0, 0, 0, 0}})));
  CHECK_FALSE(without_hints_and_ech(joined({kHead, {0, 0, 0, 1, 0}})));
  CHECK_FALSE(without_hints_and_ech(Data{0, 1, 0xc0, 0}));
  CHECK_FALSE(without_hints_and_ech(Data{0, 1, 1, 'a', 0xc0, 2}));
}
