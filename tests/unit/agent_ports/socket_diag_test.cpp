#include "agent/ports/socket_diag.h"

#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <catch2/catch.hpp>
#include <cstring>

namespace sluice::agent {

namespace {

constexpr std::uint8_t kEstablished = 1;
constexpr std::uint8_t kClose = 7;
constexpr std::uint8_t kListen = 10;

inet_diag_msg socket_at(std::uint8_t family, std::uint8_t state, std::uint16_t port) {
  inet_diag_msg fixed{};
  fixed.idiag_family = family;
  fixed.idiag_state = state;
  fixed.id.idiag_sport = htons(port);
  std::uint8_t address[16] = {10, 0, 0, 7};
  std::memcpy(fixed.id.idiag_src, address, sizeof address);
  fixed.idiag_uid = 33;
  fixed.idiag_inode = 4711;
  return fixed;
}

std::optional<OpenPort> parse(const inet_diag_msg& fixed, Protocol protocol) {
  return parse_open_port({SOCK_DIAG_BY_FAMILY, 0, 1, bytes_of(fixed)}, protocol);
}

}  // namespace

TEST_CASE("a socket that listens is an open port") {
  auto port = parse(socket_at(AF_INET, kListen, 8080), Protocol::tcp);
  REQUIRE(port);
  CHECK(port->at.to_string() == "10.0.0.7:8080");
  CHECK(port->uid == 33);
  CHECK(port->inode == 4711);
  auto v6 = parse(socket_at(AF_INET6, kClose, 53), Protocol::udp);
  REQUIRE(v6);
  CHECK(v6->at.to_string() == "[a00:7::]:53");
}

TEST_CASE("what has a peer, no port, or another state is none") {
  CHECK_FALSE(parse(socket_at(AF_INET, kEstablished, 8080), Protocol::tcp));
  CHECK_FALSE(parse(socket_at(AF_INET, kEstablished, 53), Protocol::udp));
  CHECK_FALSE(parse(socket_at(AF_INET, kListen, 0), Protocol::tcp));
  CHECK_FALSE(parse(socket_at(AF_UNIX, kListen, 80), Protocol::tcp));
  auto connected = socket_at(AF_INET, kClose, 53);
  connected.id.idiag_dport = htons(9);
  CHECK_FALSE(parse(connected, Protocol::udp));
}

TEST_CASE("a message that is too short, or another one, is none") {
  auto fixed = socket_at(AF_INET, kListen, 8080);
  auto whole = bytes_of(fixed);
  for (std::size_t size = 0; size < whole.size(); ++size) {
    CHECK_FALSE(parse_open_port({SOCK_DIAG_BY_FAMILY, 0, 1, whole.first(size)}, Protocol::tcp));
  }
  CHECK_FALSE(parse_open_port({16, 0, 1, whole}, Protocol::tcp));
}

TEST_CASE("this process's own sockets are known") {
  UniqueFd fd(::socket(AF_INET, SOCK_DGRAM, 0));
  auto before = own_sockets().size();
  CHECK(before > 0);
  fd.reset();
  CHECK(own_sockets().size() == before - 1);
}

}  // namespace sluice::agent
