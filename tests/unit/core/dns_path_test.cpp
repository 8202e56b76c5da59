#include "core/dns_path.h"

#include <catch2/catch.hpp>

using namespace sluice;
using namespace sluice::test;

namespace {

constexpr std::uint16_t kQueries = 64;

std::vector<std::vector<std::uint8_t>> batch_of(const DnsPath& path, bool same_name) {
  std::vector<std::vector<std::uint8_t>> batch;
  for (std::uint16_t id = 0; id < kQueries; ++id) {
    batch.push_back(path.query(same_name ? "www.example.com" : "n" + std::to_string(id), id));
  }
  return batch;
}

std::vector<std::uint16_t> all_ids() {
  std::vector<std::uint16_t> ids;
  for (std::uint16_t id = 0; id < kQueries; ++id) ids.push_back(id);
  return ids;
}

}  // namespace

TEST_CASE("cached answers to queries that came together leave together") {
  EngineWorld world(EngineWorld::with_rules("allow@any"));
  DnsPath path(world);
  world.nic->give(path.query("www.example.com"));
  world.settle();
  REQUIRE(path.answered().size() == 1);

  world.nic->flushes = 0;
  world.nic->give(batch_of(path, true));
  CHECK(world.nic->flushes == 1);
  CHECK(path.answered() == all_ids());
}

TEST_CASE("answers that resolvers give together leave together") {
  EngineWorld world(EngineWorld::with_rules("allow@any"));
  DnsPath path(world);
  world.nic->give(batch_of(path, false));
  world.nic->flushes = 0;
  world.settle();
  CHECK(path.answered() == all_ids());
  CHECK(world.nic->flushes <= 2);
}

TEST_CASE("an answer that had to wait reaches the guest without a further frame of its own") {
  EngineWorld world(EngineWorld::with_rules("allow@any"));
  DnsPath path(world);
  world.nic->give(path.query("www.example.com"));
  CHECK(path.answered().empty());
  world.nic->flushes = 0;
  world.settle();
  CHECK(path.answered().size() == 1);
  CHECK(world.nic->flushes >= 1);
}
