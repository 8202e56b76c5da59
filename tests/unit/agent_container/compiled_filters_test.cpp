#include "agent/container/compiled_filters.h"

#include <catch2/catch.hpp>

using namespace sluice::agent;

TEST_CASE("a filter is kept by its capabilities, as the runtime wants it told") {
  CompiledFilters filters;
  CHECK(filters.find({"CAP_CHOWN"}).empty());
  filters.keep({"CAP_CHOWN"}, "abcdefgh");
  CHECK(filters.find({"CAP_CHOWN"}) == "YWJjZGVmZ2g=");
  CHECK(filters.find({"CAP_KILL"}).empty());
  filters.keep({}, std::string_view("\0\xff\xfe\x01\x02\x03\x04\x05"
                                    "12345678"
                                    "12345678",
                                    24));
  CHECK(filters.find({}) == "AP/+AQIDBAUxMjM0NTY3ODEyMzQ1Njc4");
}

TEST_CASE("what is no filter is not kept") {
  CompiledFilters filters;
  filters.keep({}, "");
  filters.keep({}, "1234567");
  filters.keep({}, std::string(8 * 4097, 'x'));
  CHECK(filters.find({}).empty());
}

TEST_CASE("no more filters are kept than a few") {
  CompiledFilters filters;
  for (int i = 0; i < 17; ++i) filters.keep({std::to_string(i)}, "12345678");
  CHECK(!filters.find({"15"}).empty());
  CHECK(filters.find({"16"}).empty());
}
