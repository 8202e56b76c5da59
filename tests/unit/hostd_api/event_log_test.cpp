#include "hostd/api/event_log.h"

#include <catch2/catch.hpp>
#include <string>

using namespace sluice;
using hostd::EventLog;

TEST_CASE("a reader that comes late is told how many events are gone") {
  EventLog log;
  for (std::size_t i = 0; i < EventLog::kCapacity + 10; ++i) log.append("{}");
  EventLog::Page page = log.read(5, 2);
  CHECK(page.missed == 5);
  CHECK(page.first == 11);
  CHECK(page.events.size() == 2);
  CHECK(log.latest() == EventLog::kCapacity + 10);
}

TEST_CASE("long events leave room for fewer, so that memory is bounded") {
  EventLog log;
  for (int i = 0; i < 40; ++i) log.append(std::string(1 << 20, 'x'));
  EventLog::Page page = log.read(0, 100);
  CHECK(page.events.size() == 16);
  CHECK(page.missed == 24);
  log.append(std::string(EventLog::kMaxBytes + 1, 'x'));
  CHECK(log.read(0, 100).events.size() == 1);
}
