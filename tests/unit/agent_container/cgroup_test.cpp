#include "agent/container/cgroup.h"

#include <catch2/catch.hpp>

#include "agent_container/temp_directory.h"

using namespace sluice;
using namespace sluice::agent;

TEST_CASE("usage is what the files say, and 0 where there is none") {
  TempDirectory directory;
  Cgroup cgroup(directory.path());
  CHECK(cgroup.usage().cpu_us == 0);
  directory.write("cpu.stat", "usage_usec 5\nuser_usec 3\nsystem_usec 2\n");
  directory.write("memory.current", "4096\n");
  directory.write("memory.max", "max\n");
  directory.write("memory.events", "low 1\noom 2\noom_kill 3\n");
  directory.write("pids.max", "9\n");
  directory.write("io.stat", "8:0 rbytes=5 wbytes=7 rios=1\n8:16 rbytes=10 wbytes=1\n");
  CgroupUsage usage = cgroup.usage();
  CHECK(usage.cpu_us == 5);
  CHECK(usage.user_us == 3);
  CHECK(usage.memory == 4096);
  CHECK(usage.memory_limit == 0);
  CHECK(usage.oom_kills == 3);
  CHECK(usage.pids_limit == 9);
  CHECK(usage.read_bytes == 15);
  CHECK(usage.written_bytes == 8);
}

TEST_CASE("nothing is written where there is no cgroup") {
  TempDirectory directory;
  Cgroup cgroup(directory.path());
  CHECK_FALSE(cgroup.is_there());
  CHECK(cgroup.kill().code() == StatusCode::not_found);
  CHECK(cgroup.freeze(true).code() == StatusCode::not_found);
  CHECK(cgroup.set({.memory = 5}).code() == StatusCode::not_found);
  CHECK(cgroup.set({}));
  CHECK_FALSE(std::filesystem::exists(directory.path() + "/cgroup.kill"));
}

TEST_CASE("limits are written as the kernel reads them") {
  TempDirectory directory;
  for (const char* name : {"memory.max", "cpu.max", "pids.max", "cpuset.cpus"}) {
    directory.write(name, "");
  }
  REQUIRE(
      Cgroup(directory.path()).set({.memory = 4096, .cpu_millis = 250, .cpus = "0", .pids = 3}));
  CHECK(directory.read("memory.max") == "4096");
  CHECK(directory.read("cpu.max") == "25000 100000");
  CHECK(directory.read("pids.max") == "3");
  CHECK(directory.read("cpuset.cpus") == "0");
}
