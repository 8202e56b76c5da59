#include "hostd/api/event_log.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

using namespace sluice;
using hostd::EventLog;

namespace {

bool any(const EventLog::Facts&) {
  return true;
}
bool dns(const EventLog::Facts& facts) {
  return facts.layer == Layer::dns;
}

std::vector<std::uint64_t> numbers(const EventLog::Page& page) {
  std::vector<std::uint64_t> out;
  for (const auto& item : page.events) out.push_back(item.number);
  return out;
}
using Numbers = std::vector<std::uint64_t>;

}  // namespace

TEST_CASE("a reader that comes late is told how many events are gone") {
  EventLog log;
  for (std::size_t i = 0; i < EventLog::kCapacity + 10; ++i) log.append("{}", {});
  EventLog::Page page = log.read(5, 2, any);
  CHECK(page.missed == 5);
  CHECK(numbers(page) == Numbers{11, 12});
  CHECK(log.latest() == EventLog::kCapacity + 10);
}

TEST_CASE("long events leave room for fewer, so that memory is bounded") {
  EventLog log;
  for (int i = 0; i < 40; ++i) log.append(std::string(1 << 20, 'x'), {});
  EventLog::Page page = log.read(0, 100, any);
  CHECK(page.events.size() == 16);
  CHECK(page.missed == 24);
  log.append(std::string(EventLog::kMaxBytes + 1, 'x'), {});
  CHECK(log.read(0, 100, any).events.size() == 1);
}

TEST_CASE("names count like the rest of an event") {
  EventLog log;
  EventLog::Facts facts;
  facts.names = {std::string(1 << 20, 'x')};
  for (int i = 0; i < 40; ++i) log.append("{}", facts);
  CHECK(log.read(0, 100, any).events.size() == 15);
}

TEST_CASE("a page has the first wanted events after a number, or the latest") {
  EventLog log;
  for (int i = 1; i <= 10; ++i) {
    EventLog::Facts facts;
    facts.layer = i % 2 == 0 ? Layer::dns : Layer::syn;
    log.append(std::to_string(i), facts);
  }
  CHECK(numbers(log.read(3, 2, dns)) == Numbers{4, 6});
  CHECK(numbers(log.read(std::nullopt, 2, dns)) == Numbers{8, 10});
  CHECK(log.read(std::nullopt, 2, dns).rest == 3);
  CHECK(log.read(std::nullopt, 2, dns).events[0].json == "8");
  CHECK(numbers(log.read(std::nullopt, 100, any)).size() == 10);
  CHECK(log.read(10, 100, any).events.empty());
  CHECK(log.read(~std::uint64_t{0}, 100, any).events.empty());
}

TEST_CASE("a reader that goes on where a page ended reads each wanted event once") {
  EventLog log;
  Numbers all;
  std::uint64_t after = 0;
  for (int i = 1; i <= 100; ++i) {
    EventLog::Facts facts;
    facts.layer = i % 3 == 0 ? Layer::dns : Layer::syn;
    log.append("{}", facts);
    if (i % 10 != 0) continue;
    EventLog::Page page = log.read(after, 2, dns);
    for (std::uint64_t number : numbers(page)) all.push_back(number);
    after = page.last;
  }
  while (true) {
    EventLog::Page page = log.read(after, 2, dns);
    for (std::uint64_t number : numbers(page)) all.push_back(number);
    after = page.last;
    if (page.rest == 0) break;
  }
  REQUIRE(all.size() == 33);
  for (std::size_t i = 0; i < all.size(); ++i) CHECK(all[i] == 3 * (i + 1));
  CHECK(after == 100);
}
