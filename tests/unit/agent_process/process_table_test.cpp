#include "agent/process/process_table.h"

#include <catch2/catch.hpp>

namespace sluice::agent {

namespace {

ProcessTable::Process process(const std::string& id, pid_t pid = 1) {
  return {.id = id, .pid = pid, .args = {"program", id}, .started_at_ns = 5, .exit = {}};
}

}  // namespace

TEST_CASE("a process is found while it runs and when it has ended") {
  ProcessTable table;
  table.add(process("a", 7));
  REQUIRE(table.find("a"));
  CHECK(table.find("a")->pid == 7);
  CHECK_FALSE(table.find("a")->exit);
  table.ended("a", {.code = 3}, true);
  REQUIRE(table.find("a")->exit);
  CHECK(table.find("a")->exit->code == 3);
  CHECK(table.find("a")->timed_out);
  CHECK_FALSE(table.find("b"));
}

TEST_CASE("who waits is told of the end, once") {
  ProcessTable table;
  table.add(process("a"));
  int told = 0;
  CHECK(table.wait("a", [&](const ProcessTable::Process& ended) {
    ++told;
    CHECK(ended.exit->code == 4);
  }) != 0);
  CHECK(table.wait("a", [&](const ProcessTable::Process&) { ++told; }) != 0);
  CHECK(told == 0);
  table.ended("a", {.code = 4}, false);
  CHECK(told == 2);
  CHECK(table.wait("a", [&](const ProcessTable::Process&) { ++told; }) == 0);
  CHECK(told == 3);
}

TEST_CASE("who waits no more is not told") {
  ProcessTable table;
  table.add(process("a"));
  int told = 0;
  auto first = table.wait("a", [&](const ProcessTable::Process&) { told += 1; });
  table.wait("a", [&](const ProcessTable::Process&) { told += 10; });
  table.unwait(first);
  table.unwait(first);
  table.unwait(0);
  table.unwait(12345);
  table.ended("a", {}, false);
  CHECK(told == 10);
}

TEST_CASE("a waiter may stop another's waiting, and its own") {
  ProcessTable table;
  table.add(process("a"));
  std::uint64_t number = 0;
  number = table.wait("a", [&](const ProcessTable::Process&) { table.unwait(number); });
  table.ended("a", {}, false);
  CHECK(table.find("a"));
}

TEST_CASE("an unknown process can't be waited for, and its end is nothing") {
  ProcessTable table;
  CHECK(table.wait("x", [](const ProcessTable::Process&) { FAIL(); }) == 0);
  table.ended("x", {}, false);
  CHECK(table.list().empty());
}

TEST_CASE("only the latest ends are remembered, and all that run") {
  ProcessTable table;
  table.add(process("runs"));
  for (std::size_t i = 0; i < kRememberedEnds + 10; ++i) {
    std::string id = std::to_string(i);
    table.add(process(id));
    table.ended(id, {}, false);
  }
  CHECK(table.list().size() == kRememberedEnds + 1);
  CHECK(table.find("runs"));
  CHECK_FALSE(table.find("9"));
  CHECK(table.find("10"));
}

TEST_CASE("the list is in the order of the starts") {
  ProcessTable table;
  for (const char* id : {"z", "a", "m"}) table.add(process(id));
  table.ended("z", {}, false);
  std::string order;
  for (const ProcessTable::Process* one : table.list()) order += one->id;
  CHECK(order == "zam");
}

TEST_CASE("of long arguments the beginning is remembered, cut between characters") {
  ProcessTable table;
  ProcessTable::Process one = process("a");
  one.args = {"program", std::string(kRememberedArgBytes - 9, 'x') + "üüü", "more"};
  table.add(one);
  const auto& args = table.find("a")->args;
  REQUIRE(args.size() == 2);
  CHECK(args[1] == std::string(kRememberedArgBytes - 9, 'x'));

  one = process("b");
  one.args.assign(100'000, "");
  table.add(one);
  CHECK(table.find("b")->args.size() <= kRememberedArgBytes);
}

}  // namespace sluice::agent
