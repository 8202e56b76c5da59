#include "base/number.h"

#include <catch2/catch.hpp>
#include <cstdint>

using sluice::parse_number;

TEST_CASE("a number is all of its text, and within its type") {
  CHECK(parse_number<std::uint16_t>("0") == 0);
  CHECK(parse_number<std::uint16_t>("65535") == 65535);
  CHECK(parse_number<int>("-1") == -1);
  CHECK(parse_number<std::uint8_t>("fF", 16) == 255);
  for (const char* text : {"", " 1", "1 ", "+1", "-1", "1x", "0x1", "65536", "1.0"}) {
    INFO(text);
    CHECK_FALSE(parse_number<std::uint16_t>(text));
  }
}
