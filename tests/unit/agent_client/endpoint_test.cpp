#include "agent/client/endpoint.h"

#include "agent_client/line_kit.h"

namespace sluice::agent::client {

TEST_CASE("an endpoint is read and written the same") {
  for (const char* text : {"serial:/run/vm.agent", "unix:/run/vm.vsock", "unix:relative:name",
                           "firecracker:/run/fc.vsock:1024", "firecracker:/with:colon:1",
                           "vsock:3:1024", "vsock:4294967295:0"}) {
    auto endpoint = AgentEndpoint::parse(text);
    REQUIRE(endpoint.is_ok());
    CHECK(endpoint->to_string() == text);
  }
}

TEST_CASE("what is no endpoint says what is one") {
  for (const char* text :
       {"", "unix", "unix:", "/run/vm.agent", "tcp:1024", "vsock:3", "vsock:3:", "vsock::1",
        "vsock:3:x", "vsock:4294967296:1", "firecracker:/run/fc.vsock", "firecracker::1",
        "firecracker:/x:", "Serial:/x"}) {
    auto endpoint = AgentEndpoint::parse(text);
    INFO(text);
    REQUIRE_FALSE(endpoint.is_ok());
    CHECK(endpoint.status().code() == StatusCode::invalid_argument);
    CHECK(endpoint.status().message().find(text) != std::string::npos);
  }
}

TEST_CASE("a socket's path has at most 107 bytes") {
  std::string longest(107, 'x');
  CHECK(AgentEndpoint::parse("unix:" + longest).is_ok());
  auto beyond = AgentEndpoint::parse("unix:" + longest + "x");
  REQUIRE_FALSE(beyond.is_ok());
  CHECK(beyond.status().message().find("107") != std::string::npos);
}

TEST_CASE("where nobody listens, dialling says where and why") {
  test::VirtualLoop loop;
  auto link = dial(loop, *AgentEndpoint::parse("unix:/nonexistent/agent.sock"));
  REQUIRE_FALSE(link.is_ok());
  CHECK(link.status().code() == StatusCode::not_found);
  CHECK(link.status().message().find("/nonexistent/agent.sock") != std::string::npos);
}

}  // namespace sluice::agent::client
