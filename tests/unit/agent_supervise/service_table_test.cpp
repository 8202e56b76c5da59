#include "agent/supervise/service_table.h"

#include <catch2/catch.hpp>

namespace sluice::agent {

namespace {

std::string problem_of(std::string_view text) {
  auto table = parse_system_table(text);
  return table ? "" : table.status().message();
}

}  // namespace

TEST_CASE("a whole table is read") {
  auto table = parse_system_table(R"({
    "directories": [{"path": "/var/lib/docker", "mode": "0711"}, {"path": "/srv"}],
    "links": [{"path": "/etc/ssl/cert.pem", "to": "/cacerts/ca.pem"}],
    "mounts": [{"source": "users", "target": "/Users", "type": "virtiofs", "read_only": true,
                "optional": true}],
    "services": [{"name": "docker", "command": ["/usr/bin/dockerd", "-D"], "env": {"A": "b"},
                  "cwd": "/srv", "user": "nobody", "after": ["containerd"],
                  "ready": {"tcp": "127.0.0.1:2375"}, "restart": "on-failure",
                  "stop_seconds": 25},
                 {"name": "containerd", "command": ["containerd"]}]})");
  REQUIRE(table);
  REQUIRE(table->directories.size() == 2);
  CHECK(table->directories[0].mode == 0711);
  CHECK(table->directories[1].mode == 0755);
  CHECK(table->links[0].to == "/cacerts/ca.pem");
  CHECK(table->mounts[0].optional);
  // What it is after comes first.
  REQUIRE(table->services.size() == 2);
  CHECK(table->services[0].name == "containerd");
  const ServiceSpec& docker = table->services[1];
  CHECK(docker.command == std::vector<std::string>{"/usr/bin/dockerd", "-D"});
  CHECK(docker.env.at("A") == "b");
  CHECK(docker.ready.tcp == "127.0.0.1:2375");
  CHECK(docker.restart == ServiceSpec::Restart::on_failure);
  CHECK(docker.stop_grace == std::chrono::seconds(25));
}

TEST_CASE("nothing is a table without anything") {
  auto table = parse_system_table("{}");
  REQUIRE(table);
  CHECK(table->services.empty());
}

TEST_CASE("what is wrong with a table is named") {
  CHECK(problem_of("") == "it is no JSON");
  CHECK(problem_of("[]") == "the file is no object");
  CHECK(problem_of(R"({"service": []})") == "the file: there is no member 'service'");
  CHECK(problem_of(R"({"services": {}})").find("no array") != std::string::npos);
  CHECK(problem_of(R"({"services": [{"command": ["x"]}]})") == "services[0]: '' is no name");
  CHECK(problem_of(R"({"services": [{"name": "../x", "command": ["x"]}]})") ==
        "services[0]: '../x' is no name");
  CHECK(problem_of(R"({"services": [{"name": "a"}]})") == "service a has no command");
  CHECK(problem_of(R"({"services": [{"name": "a", "command": ["x"], "redy": {}}]})") ==
        "services[0]: there is no member 'redy'");
  CHECK(problem_of(R"({"services": [{"name": "a", "command": ["x"], "ready": {"tcp": ""}}]})") ==
        "service a: ready is one of tcp, unix and command");
  CHECK(problem_of(R"({"services": [{"name": "a", "command": ["x"], "restart": "maybe"}]})") ==
        "service a: restart is always, on-failure or never");
  CHECK(problem_of(R"({"services": [{"name": "a", "command": ["x"]},
                                    {"name": "a", "command": ["y"]}]})") == "a is there twice");
  CHECK(problem_of(R"({"services": [{"name": "a", "command": ["x"], "after": ["b"]}]})") ==
        "service a: after 'b', which is no service");
  CHECK(problem_of(R"({"services": [{"name": "a", "command": ["x"], "after": ["b"]},
                                    {"name": "b", "command": ["x"], "after": ["a"]}]})") ==
        "service a: what it is after comes round to it");
  CHECK(problem_of(R"({"directories": [{"path": "srv"}]})") ==
        "directories[0]: path is no absolute path");
  CHECK(problem_of(R"({"directories": [{"path": "/srv", "mode": "rwx"}]})").find("octal") !=
        std::string::npos);
  CHECK(problem_of(R"({"mounts": [{"target": "/x"}]})") ==
        "mounts[0] needs source, target and type");
}

}  // namespace sluice::agent
