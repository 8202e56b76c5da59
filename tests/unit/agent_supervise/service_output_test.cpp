#include "agent/supervise/service_output.h"

#include <catch2/catch.hpp>

namespace sluice::agent {

TEST_CASE("what a service writes is kept as it is") {
  ServiceOutput output;
  output.write("one\n");
  output.write(std::string_view("\0\xff", 2));
  CHECK(output.text() == std::string("one\n\0\xff", 6));
  CHECK(output.lost() == 0);
}

TEST_CASE("of more than there is room for the latest is kept, and the rest counted") {
  for (std::size_t piece : {std::size_t{1}, std::size_t{7}, std::size_t{4096}, kKeptOutputBytes,
                            3 * kKeptOutputBytes + 5}) {
    ServiceOutput output;
    std::string all;
    while (all.size() < 3 * kKeptOutputBytes) {
      std::string part;
      for (std::size_t i = 0; i < piece; ++i) {
        part += static_cast<char>('a' + (all.size() + i) % 23);
      }
      output.write(part);
      all += part;
    }
    INFO(piece);
    CHECK(output.text() == all.substr(all.size() - kKeptOutputBytes));
    CHECK(output.lost() == all.size() - kKeptOutputBytes);
  }
}

}  // namespace sluice::agent
