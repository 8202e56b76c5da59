#include "agent/container/status_file.h"

#include <catch2/catch.hpp>

using namespace sluice;
using namespace sluice::agent;

TEST_CASE("a status brings back how it ended") {
  ContainerStatus status{.pid = 5, .shim_pid = 4, .started = true, .started_at_ns = 17};
  CHECK_FALSE(parse_status(to_json(status))->exit);
  status.exit = ContainerExit{
      .code = 137, .signal = 9, .oom = true, .at_ns = 18, .error = "why", .error_number = 2};
  auto read = parse_status(to_json(status));
  REQUIRE(read);
  CHECK(read->pid == 5);
  CHECK(read->started);
  REQUIRE(read->exit);
  CHECK(read->exit->code == 137);
  CHECK(read->exit->signal == 9);
  CHECK(read->exit->oom);
  CHECK(read->exit->error == "why");
  CHECK(to_json(*read) == to_json(status));
}

TEST_CASE("numbers that are none of a status's are brought into their range") {
  auto read = parse_status(R"({"pid":-5,"shim_pid":99999999999,"exit":{"code":"x"}})");
  REQUIRE(read);
  CHECK(read->pid == 0);
  CHECK(read->shim_pid == 2147483647);
  CHECK(read->exit->code == 0);
  for (const char* text : {"", "[]", "1", "{\"pid\":"}) CHECK_FALSE(parse_status(text));
}
