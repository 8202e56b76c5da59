#include "stack/unread_space.h"

#include <catch2/catch.hpp>
#include <cstdint>

using namespace sluice;
using stack::UnreadSpace;

TEST_CASE("a position is found again by its address, wherever the space begins anew") {
  UnreadSpace space;
  REQUIRE(space.exists());
  for (std::uint64_t from :
       {std::uint64_t{0}, std::uint64_t{UnreadSpace::kSize} - 5,
        std::uint64_t{UnreadSpace::kSize} * 1000 + 7, std::uint64_t{1} << 40}) {
    for (std::uint64_t ahead : {0u, 1u, 4u, 5u, 6u, 4u << 20, 60u << 20}) {
      CHECK(space.position_of(space.address_of(from + ahead), from) == from + ahead);
    }
  }
}

TEST_CASE("addresses follow one another up to the end of the space, and only those are in it") {
  UnreadSpace space;
  const std::uint8_t* begin = space.address_of(0);
  CHECK(space.contiguous(0) == UnreadSpace::kSize);
  CHECK(space.contiguous(UnreadSpace::kSize - 5) == 5);
  CHECK(space.address_of(UnreadSpace::kSize) == begin);
  CHECK(space.contains(begin));
  CHECK(space.contains(begin + UnreadSpace::kSize - 1));
  CHECK_FALSE(space.contains(begin - 1));
  CHECK_FALSE(space.contains(begin + UnreadSpace::kSize));
  CHECK_FALSE(space.contains(&space));
  CHECK_FALSE(space.contains(nullptr));
}
