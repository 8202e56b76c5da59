#include "core/flow_list.h"

#include <catch2/catch.hpp>
#include <chrono>
#include <vector>

#include "core/engine_world.h"

using namespace sluice;
using namespace sluice::test;
using namespace std::chrono_literals;

namespace {

/// Flows that nobody carries, in a shuffled order.
struct List {
  explicit List(std::size_t count) {
    records.resize(count);
    for (std::size_t i = 0; i < count; ++i) records[i].grant.id = (i * 7919) % count + 1;
  }
  core::FlowList list() {
    return {loop, names, [this](const flow::FlowVisitor& visit) {
              for (const auto& record : records) {
                auto last = static_cast<std::uint8_t>(record.grant.id);
                visit({.record = record,
                       .protocol = record.grant.id % 2 ? Protocol::tcp : Protocol::udp,
                       .guest = endpoint("192.168.127.2:40000"),
                       .remote = {IpAddress::v4(203, 0, 113, last), Port(443)}});
              }
            }};
  }

  VirtualLoop loop;
  policy::NameIndex names;
  std::vector<flow::FlowRecord> records;
};

std::vector<FlowId> ids(const Result<FlowPage>& page) {
  std::vector<FlowId> out;
  REQUIRE(page);
  for (const FlowInfo& flow : page->flows) out.push_back(flow.id);
  return out;
}

}  // namespace

TEST_CASE("pages of flows hold each once, in the order of their numbers") {
  List world(101);
  std::vector<FlowId> all;
  FlowFilter filter{.to = {}, .limit = 10};
  std::size_t rest = 1;
  while (rest > 0) {
    auto page = world.list().page(filter);
    for (FlowId id : ids(page)) all.push_back(id);
    rest = page->rest;
    filter.after = all.back();
    CHECK(all.size() + rest == 101);
  }
  REQUIRE(all.size() == 101);
  for (std::size_t i = 0; i < all.size(); ++i) CHECK(all[i] == i + 1);
}

TEST_CASE("flows are found by address, block, name, suffix and protocol") {
  List world(101);
  TimePoint now = world.loop.now();
  world.names.bind(domain("a.example.com"), ip("203.0.113.5"), 1h, now);
  auto found = [&](FlowFilter filter) { return ids(world.list().page(filter)); };
  CHECK(found({.to = "203.0.113.7"}) == std::vector<FlowId>{7});
  CHECK(found({.to = "203.0.113.4/30"}) == std::vector<FlowId>{4, 5, 6, 7});
  CHECK(found({.to = "203.0.113.4/30", .protocol = Protocol::udp}) == std::vector<FlowId>{4, 6});
  CHECK(found({.to = "a.example.com"}) == std::vector<FlowId>{5});
  CHECK(found({.to = "A.Example.COM."}) == std::vector<FlowId>{5});
  CHECK(found({.to = "*.example.com"}) == std::vector<FlowId>{5});
  CHECK(found({.to = "*.ample.com"}).empty());
  CHECK(found({.to = "example.com"}).empty());
  CHECK(found({.to = "", .direction = Direction::ingress}).empty());
  CHECK_FALSE(world.list().page({.to = "no name"}));
}

TEST_CASE("one flow is found by its number") {
  List world(10);
  REQUIRE(world.list().one(3));
  CHECK(world.list().one(3)->remote == endpoint("203.0.113.3:443"));
  CHECK_FALSE(world.list().one(11));
}

TEST_CASE("a page of a hundred thousand flows takes tens of milliseconds") {
  List world(100'000);
  auto begin = std::chrono::steady_clock::now();
  CHECK(world.list().page({.to = "203.0.113.0/24"})->rest == 99'000);
  std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - begin;
  WARN("100,000 flows: " << took.count() << " ms");
  // Ten times what it takes, since other tests run too.
  CHECK(took < 1s);
}

TEST_CASE("a flow of the network's is told from its beginning to its end with one number") {
  std::vector<Event> events;
  NetworkConfig config = EngineWorld::with_rules("allow@203.0.113.9");
  config.on_flow = [&](const Event& event) { events.push_back(event); };
  EngineWorld world(std::move(config));
  world.send_udp({world.guest, Port(4000)}, endpoint("203.0.113.9:9"), "12345");
  world.settle();
  auto page = world.engine->flows({});
  REQUIRE(page);
  REQUIRE(page->flows.size() == 1);
  const FlowInfo& flow = page->flows[0];
  CHECK(flow.protocol == Protocol::udp);
  CHECK(flow.remote == endpoint("203.0.113.9:9"));
  CHECK(flow.tx_bytes == 5);
  REQUIRE(flow.decided_by);
  CHECK(flow.decided_by->text == "allow@203.0.113.9");
  CHECK(*world.engine->reset_flow(flow.id));
  CHECK_FALSE(*world.engine->reset_flow(flow.id));
  CHECK(world.engine->reset_flow(flow.id + 1).status().code() == StatusCode::not_found);
  REQUIRE(events.size() == 2);
  CHECK(events[0].kind == EventKind::allowed);
  CHECK(events[1].kind == EventKind::closed);
  CHECK(events[0].flow == flow.id);
  CHECK(events[1].flow == flow.id);
  CHECK(events[1].tx_bytes == 5);
  CHECK(world.denied.empty());
}
