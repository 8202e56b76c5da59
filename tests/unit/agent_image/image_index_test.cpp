#include "agent/image/image_index.h"

#include <catch2/catch.hpp>
#include <string>

using namespace sluice;
using namespace sluice::agent;

namespace {

const std::string kOne = "sha256:" + std::string(64, '1');
const std::string kTwo = "sha256:" + std::string(64, '2');

}  // namespace

TEST_CASE("an index is read as it was written") {
  ImageIndex index;
  index.images.push_back({.id = kOne,
                          .names = {"a:1", "b:latest"},
                          .diff_ids = {kTwo},
                          .size = 17,
                          .imported_at_ns = 99});
  auto read = ImageIndex::parse(index.to_string());
  REQUIRE(read);
  REQUIRE(read->images.size() == 1);
  CHECK(read->images[0].names == index.images[0].names);
  CHECK(read->images[0].diff_ids == index.images[0].diff_ids);
  CHECK(read->images[0].size == 17);
  CHECK(read->images[0].imported_at_ns == 99);
  CHECK(read->uses(kTwo));
  CHECK_FALSE(read->uses(kOne));
  read->take_name("a:1");
  CHECK(read->find(kOne)->names == std::vector<std::string>{"b:latest"});
  CHECK(read->find(kTwo) == nullptr);
}

TEST_CASE("a damaged index is a fault of the store, and no empty one") {
  for (const char* text : {"", "{", "{}", "[]", R"({"images": {}})",
                           R"({"images": [{"id": "sha256:../x"}]})", R"({"images": [7]})"}) {
    auto read = ImageIndex::parse(text);
    REQUIRE_FALSE(read);
    CHECK(read.status().code() == StatusCode::internal);
  }
}
