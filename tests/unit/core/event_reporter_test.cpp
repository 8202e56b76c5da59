#include "core/event_reporter.h"

#include <catch2/catch.hpp>
#include <vector>

#include "support/virtual_loop.h"

using namespace sluice;
using namespace sluice::test;
using namespace std::chrono_literals;
using core::EventReporter;

namespace {

struct Reports {
  explicit Reports(bool flows = true)
      : reporter(loop, "box",
                 {.on_denied = [this](const Event& event) { denied.push_back(event); },
                  .on_violation = {},
                  .on_flow = flows ? [this](const Event& event) { others.push_back(event); }
                                   : EventReporter::Report{}}) {}

  void report(EventKind kind, std::uint16_t port) {
    Event event;
    event.kind = kind;
    event.source = {IpAddress::v4(192, 168, 127, 2), Port(40000)};
    event.destination = {IpAddress::v4(203, 0, 113, 1), Port(port)};
    reporter.report(std::move(event));
  }

  VirtualLoop loop;
  std::vector<Event> denied, others;
  EventReporter reporter;
};

std::uint64_t total(const std::vector<Event>& events) {
  std::uint64_t sum = 0;
  for (const Event& event : events) sum += 1 + event.suppressed;
  return sum;
}

}  // namespace

TEST_CASE("each event says of which guest it is, and when") {
  Reports reports;
  reports.report(EventKind::denied, 80);
  REQUIRE(reports.denied.size() == 1);
  CHECK(reports.denied[0].guest == "box");
  CHECK(reports.denied[0].time_ns == reports.loop.wall_time_ns());
}

TEST_CASE("no refusal is missing from the counts, however many there are and how long they last") {
  Reports reports;
  for (int i = 0; i < 35; ++i) {
    for (int j = 0; j < 10; ++j) reports.report(EventKind::denied, 80);
    reports.loop.advance(100ms);
  }
  reports.loop.advance(2s);
  CHECK(total(reports.denied) == 350);
  CHECK(reports.denied.size() <= 6);
  CHECK(reports.reporter.denials() == 350);
}

TEST_CASE("flows are reported one by one, up to fifty like ones in a second") {
  Reports reports;
  for (int i = 0; i < 200; ++i) reports.report(EventKind::allowed, 443);
  CHECK(reports.others.size() == EventReporter::kFlowsAtOnce);
  reports.loop.advance(1s);
  CHECK(reports.others.size() == EventReporter::kFlowsAtOnce + 1);
  CHECK(reports.others.back().suppressed == 149);
  CHECK(total(reports.others) == 200);
}

TEST_CASE("the end of a flow is no event like its beginning") {
  Reports reports;
  for (int i = 0; i < 60; ++i) reports.report(EventKind::allowed, 443);
  reports.report(EventKind::closed, 443);
  CHECK(reports.others.back().kind == EventKind::closed);
}

TEST_CASE("a scan of all ports costs a bounded number of reports, and is counted whole") {
  Reports reports;
  for (int port = 1; port <= 60000; ++port) {
    reports.report(EventKind::denied, static_cast<std::uint16_t>(port));
  }
  CHECK(reports.denied.size() == EventReporter::kMaxKinds + 1);
  reports.loop.advance(2s);
  CHECK(total(reports.denied) == 60000);
}

TEST_CASE("where nobody wants flows, only refusals are reported") {
  Reports reports(false);
  CHECK_FALSE(reports.reporter.wants_flows());
  reports.report(EventKind::allowed, 443);
  reports.report(EventKind::denied, 443);
  CHECK(reports.others.empty());
  CHECK(reports.denied.size() == 1);
}

TEST_CASE("when all is quiet no timer is left") {
  Reports reports;
  reports.report(EventKind::denied, 80);
  reports.report(EventKind::denied, 80);
  reports.loop.advance(5s);
  CHECK(reports.loop.active_timers() == 0);
}
