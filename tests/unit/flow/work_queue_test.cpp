#include <catch2/catch.hpp>
#include <memory>
#include <vector>

#include "flow/work_queue.h"

using namespace sluice::flow;

namespace {

struct Thing : WorkItem {
  explicit Thing(int id) : number(id) {}
  int number;
};

/// Three things, their queue, and what became of them.
struct World {
  std::vector<int> forgotten;
  WorkQueue<Thing> queue{[this](Thing& thing) { forgotten.push_back(thing.number); }};
  Thing a{1}, b{2}, c{3};

  std::vector<int> run() {
    std::vector<int> served;
    queue.run([&](Thing& thing) { served.push_back(thing.number); });
    return served;
  }
};

}  // namespace

TEST_CASE("each thing has one turn however often it was added") {
  World world;
  for (Thing* thing : {&world.b, &world.a, &world.b, &world.a}) world.queue.add(*thing);
  CHECK(world.queue.has_work());
  CHECK(world.run() == std::vector<int>{2, 1});
  CHECK_FALSE(world.queue.has_work());
  CHECK(world.run().empty());
}

TEST_CASE("what is added during a turn waits for the next one, and the owner is told") {
  World world;
  int told = 0;
  world.queue.set_on_work([&] { ++told; });
  world.queue.add(world.a);
  CHECK(told == 1);
  world.queue.run([&](Thing& thing) { world.queue.add(thing); });
  CHECK(told == 2);
  CHECK(world.run() == std::vector<int>{1});
  CHECK(told == 2);
}

TEST_CASE("a thing that was removed is not served, the others are") {
  World world;
  for (Thing* thing : {&world.a, &world.b, &world.c}) world.queue.add(*thing);
  world.queue.remove(world.b);
  world.queue.remove(world.b);
  CHECK(world.run() == std::vector<int>{1, 3});
  world.queue.add(world.b);
  world.queue.remove(world.b);
  CHECK_FALSE(world.queue.has_work());
  world.queue.add(world.b);
  CHECK(world.run() == std::vector<int>{2});
}

TEST_CASE("a thing that ends during a turn is not served any more, and forgotten after it") {
  World world;
  world.queue.add(world.a);
  world.queue.add(world.b);
  std::vector<int> served;
  world.queue.run([&](Thing& thing) {
    served.push_back(thing.number);
    CHECK(world.queue.retire(world.b));
    CHECK_FALSE(world.queue.retire(world.b));
    world.queue.add(world.b);
    world.queue.sweep();
    CHECK(world.forgotten.empty());
  });
  CHECK(served == std::vector<int>{1});
  CHECK(world.forgotten == std::vector<int>{2});
  CHECK_FALSE(world.queue.has_work());
}
