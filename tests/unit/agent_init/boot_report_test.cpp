#include "agent/init/boot_report.h"

#include <catch2/catch.hpp>
#include <cerrno>

namespace sluice::agent {

using Result = BootReport::Result;

TEST_CASE("a step is under way until it is told what came of it") {
  BootReport boot;
  CHECK(boot.complete());
  auto first = boot.begin("first", true);
  auto second = boot.begin("second");
  CHECK_FALSE(boot.complete());
  boot.done(first, "well");
  CHECK_FALSE(boot.complete());
  boot.skipped(second, "not here");
  CHECK(boot.complete());
  CHECK_FALSE(boot.has_failed());
  auto steps = boot.steps();
  REQUIRE(steps.size() == 2);
  CHECK(steps[0].name == "first");
  CHECK(steps[0].mandatory);
  CHECK(steps[0].result == Result::done);
  CHECK(steps[0].message == "well");
  CHECK(steps[1].result == Result::skipped);
  CHECK(steps[1].message == "not here");
}

TEST_CASE("only a mandatory step's failure is the boot's") {
  BootReport boot;
  boot.failed(boot.begin("optional"), ENOENT, "gone");
  CHECK_FALSE(boot.has_failed());
  boot.note("told of", Result::failed, "too late", EIO);
  CHECK_FALSE(boot.has_failed());
  boot.failed(boot.begin("mandatory", true), EPERM, "not allowed");
  CHECK(boot.has_failed());
  CHECK(boot.complete());
  CHECK(boot.steps()[0].error == ENOENT);
  CHECK(boot.steps()[1].error == EIO);
  CHECK(boot.steps()[2].message == "not allowed");
}

TEST_CASE("a step that was given up may still come to its end") {
  BootReport boot;
  auto port = boot.begin("port");
  boot.skipped(port, "not there yet");
  boot.done(port, "/dev/vport0p1");
  CHECK(boot.steps()[0].result == Result::done);
}

TEST_CASE("times are since the start, in the order of the steps") {
  BootReport boot;
  auto first = boot.begin("first");
  auto second = boot.begin("second");
  Duration early = boot.steps()[0].took;
  CHECK(boot.steps()[0].took >= early);
  boot.done(second);
  boot.done(first);
  auto steps = boot.steps();
  CHECK(steps[0].started <= steps[1].started);
  CHECK(steps[0].took >= steps[1].took);
  CHECK(boot.age() >= steps[0].started + steps[0].took);
  CHECK(boot.steps()[0].took == steps[0].took);
}

TEST_CASE("the listener hears of each step that is over") {
  BootReport boot;
  std::string heard;
  boot.done(boot.begin("before"));
  boot.add_listener([&](const BootReport::Step& step) { heard += step.name + ";"; });
  auto slow = boot.begin("slow");
  boot.note("quick", Result::done);
  boot.failed(slow, 0, "x");
  CHECK(heard == "quick;slow;");
}

}  // namespace sluice::agent
