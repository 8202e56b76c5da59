#include "wire/checksum.h"

#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <cstring>
#include <vector>

#include "wire/packets.h"

using namespace sluice;

TEST_CASE("the checksum of bytes that are in a cache, beside a copy of them", "[checksum]") {
  for (std::size_t size : {64, 1500, 65535}) {
    auto data = testing::pattern(size);
    std::vector<std::uint8_t> copy(size);
    BENCHMARK(fmt::format("checksum of {} bytes", size)) {
      return wire::checksum_fold(wire::checksum_add(data, 0));
    };
    BENCHMARK(fmt::format("checksum of {} bytes, no SIMD", size)) {
      return wire::checksum_fold(wire::checksum_add_portable(data, 0));
    };
    BENCHMARK(fmt::format("memcpy of {} bytes", size)) {
      std::memcpy(copy.data(), data.data(), data.size());
      return copy.data();
    };
  }
}
