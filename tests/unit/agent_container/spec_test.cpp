#include "agent/container/spec.h"

#include <csignal>

#include <catch2/catch.hpp>

using namespace sluice;
using namespace sluice::agent;

TEST_CASE("a journal brings back all that was written") {
  ContainerSpec spec{.id = "0123", .name = "web", .image = "app:1", .layers = {"/a", "/b"}};
  spec.args = {"sh", "-c", "echo \"x\""};
  spec.env = {"A=b", "C="};
  spec.terminal = TerminalSize{.rows = 11, .columns = 22};
  spec.mounts = {
      {.kind = ContainerMount::Kind::tmpfs, .target = "/t", .read_only = true, .size = 5}};
  spec.limits = {.memory = std::uint64_t{1} << 40, .cpu_millis = 1500, .cpus = "0-1", .pids = 3};
  spec.capabilities = {"CAP_CHOWN"};
  spec.restart = {.kind = RestartPolicy::Kind::on_failure, .most = 4};
  spec.stop_signal = SIGUSR1;
  spec.stop_timeout_ns = 5;
  spec.labels = {{"l", "m"}};
  spec.network = ContainerNetwork::host;
  spec.created_at_ns = 1'700'000'000'000'000'000;
  auto read = parse_spec(to_json(spec));
  REQUIRE(read);
  CHECK(to_json(*read) == to_json(spec));
  CHECK(read->terminal->columns == 22);
  CHECK(read->limits.memory == std::uint64_t{1} << 40);
  CHECK(read->mounts[0].kind == ContainerMount::Kind::tmpfs);
  CHECK(read->restart.most == 4);
}

TEST_CASE("what is no journal is refused") {
  for (const char* text : {"", "{", "[]", "{}", R"({"id":"../x","name":"y"})",
                           R"({"id":"x","name":""})", R"({"id":5,"name":"y"})"}) {
    CHECK_FALSE(parse_spec(text));
  }
}

TEST_CASE("signals are read by name and by number") {
  CHECK(parse_signal("SIGTERM") == SIGTERM);
  CHECK(parse_signal("term") == SIGTERM);
  CHECK(parse_signal("9") == SIGKILL);
  CHECK(parse_signal("SIGRTMIN+3") == SIGRTMIN + 3);
  for (const char* text : {"", "0", "65", "-1", "SIG", "NOSUCH", "RTMIN+99", "9x"}) {
    CHECK_FALSE(parse_signal(text));
  }
}

TEST_CASE("dropping all leaves what is added, and adding all leaves out what is dropped") {
  CHECK(capabilities_of({}, {})->size() == 14);
  CHECK(capabilities_of({"chown"}, {"ALL"}).value() == std::vector<std::string>{"CAP_CHOWN"});
  CHECK(capabilities_of({"ALL"}, {"CAP_SYS_ADMIN"})->size() == 40);
  CHECK(capabilities_of({}, {"all"})->empty());
  CHECK(capabilities_of({"FLY"}, {}).status().code() == StatusCode::invalid_argument);
  CHECK(capabilities_of({}, {"FLY"}).status().code() == StatusCode::invalid_argument);
}

TEST_CASE("a name is letters, digits and a few signs") {
  for (const char* name : {"a", "web-1", "A.b_c", "0"}) CHECK(is_container_name(name));
  for (const char* name : {"", ".", "..", "-a", "a/b", "a b", "\xc3\xa4"}) {
    CHECK_FALSE(is_container_name(name));
  }
  CHECK(is_container_name(std::string(128, 'a')));
  CHECK_FALSE(is_container_name(std::string(129, 'a')));
}
