#include "agent/client/endpoint.h"

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

#include "agent_client/line_kit.h"

namespace sluice::agent::client {

TEST_CASE("an endpoint is read and written the same") {
  for (const char* text :
       {"serial:/run/vm.agent", "unix:/run/vm.vsock", "unix:relative:name",
        "firecracker:/run/fc.vsock:1024", "firecracker:/with:colon:1", "vsock:3:1024",
        "vsock:4294967295:0", "tcp:1024", "tcp:192.168.127.2:1024", "tcp:[fd00::2]:1",
        "host-tcp:10.0.0.2:65535", "host-tcp:[::1]:1024"}) {
    auto endpoint = AgentEndpoint::parse(text);
    REQUIRE(endpoint.is_ok());
    CHECK(endpoint->to_string() == text);
  }
}

TEST_CASE("what is no endpoint says what is one") {
  for (const char* text : {"",
                           "unix",
                           "unix:",
                           "/run/vm.agent",
                           "tcp:",
                           "tcp:0",
                           "tcp:65536",
                           "tcp:localhost:1",
                           "tcp:1.2.3.4",
                           "tcp:1.2.3.4:0",
                           "host-tcp:1024",
                           "host-tcp::1024",
                           "vsock:3",
                           "vsock:3:",
                           "vsock::1",
                           "vsock:3:x",
                           "vsock:4294967296:1",
                           "firecracker:/run/fc.vsock",
                           "firecracker::1",
                           "firecracker:/x:",
                           "Serial:/x"}) {
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

TEST_CASE("over TCP a token is needed, and for the guest's network somebody who is in it") {
  test::VirtualLoop loop;
  auto endpoint = *AgentEndpoint::parse("tcp:1024");
  CHECK(dial(loop, endpoint).status().code() == StatusCode::invalid_argument);
  endpoint.token = *rpc::BootToken::parse(std::string(64, 'a'));
  CHECK(dial(loop, endpoint).status().code() == StatusCode::unsupported);
  CHECK(endpoint.to_string() == "tcp:1024");
}

TEST_CASE("the token is shown before anything else is written") {
  test::VirtualLoop loop;
  auto endpoint = *AgentEndpoint::parse("tcp:10.0.0.2:7");
  endpoint.token = *rpc::BootToken::parse(std::string(64, 'a'));
  int ends[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
  UniqueFd guest(ends[0]);
  auto link = dial(loop, endpoint, [&](const std::optional<IpAddress>& address, Port port) {
    CHECK(address == IpAddress::v4(10, 0, 0, 2));
    CHECK(port == Port(7));
    return Result<UniqueFd>(UniqueFd(ends[1]));
  });
  REQUIRE(link.is_ok());
  const std::uint8_t call[] = {'c', 'a', 'l', 'l'};
  CHECK((*link)->write(call).bytes == 4);
  char text[200] = {};
  ssize_t size = ::read(guest.get(), text, sizeof text);
  CHECK(std::string(text, static_cast<std::size_t>(size)) == endpoint.token->line() + "call");

  SECTION("what follows the guest's OK is the link's") {
    REQUIRE(::write(guest.get(), "OK\nhello", 8) == 8);
    std::uint8_t buffer[16];
    IoResult result = (*link)->read(buffer);
    CHECK(std::string(buffer, buffer + result.bytes) == "hello");
  }
  SECTION("any other word is the end") {
    REQUIRE(::write(guest.get(), "refused\n", 8) == 8);
    std::uint8_t buffer[16];
    CHECK((*link)->read(buffer).error == ECONNREFUSED);
  }
}

}  // namespace sluice::agent::client
