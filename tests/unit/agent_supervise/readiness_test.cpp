#include "agent/supervise/readiness.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <sys/socket.h>

#include <catch2/catch.hpp>
#include <optional>

#include "base/unique_fd.h"
#include "base/uv_loop.h"

namespace sluice::agent {

namespace {

struct Fixture {
  std::unique_ptr<UvLoop> loop = std::move(*UvLoop::create());
  std::unique_ptr<Children> children = std::move(*Children::create(*loop));

  bool ask(const Readiness& ready) {
    std::optional<bool> answer;
    auto probe = ask_readiness(*loop, *children, ready, [&](bool is) {
      answer = is;
      loop->stop();
    });
    CHECK_FALSE(answer);  // Never from within.
    loop->run();
    REQUIRE(answer);
    return *answer;
  }
};

/// A socket of loopback, and where it is.
UniqueFd bound(std::string& at) {
  UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  REQUIRE(::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), size) == 0);
  REQUIRE(::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size) == 0);
  at = fmt::format("127.0.0.1:{}", ntohs(address.sin_port));
  return fd;
}

}  // namespace

TEST_CASE_METHOD(Fixture, "a port is ready when it takes connections") {
  std::string at;
  UniqueFd fd = bound(at);
  CHECK_FALSE(ask({.tcp = at}));
  REQUIRE(::listen(fd.get(), 1) == 0);
  CHECK(ask({.tcp = at}));
}

TEST_CASE_METHOD(Fixture, "what is no address and no socket is not ready") {
  CHECK_FALSE(ask({.tcp = "nowhere"}));
  CHECK_FALSE(ask({.unix_socket = "/no/such/socket"}));
  CHECK_FALSE(ask({.unix_socket = std::string(200, 'x')}));
}

TEST_CASE_METHOD(Fixture, "a command is ready when it exits 0") {
  CHECK(ask({.command = {"true"}}));
  CHECK_FALSE(ask({.command = {"false"}}));
  CHECK_FALSE(ask({.command = {"/no/such/program"}}));
}

TEST_CASE_METHOD(Fixture, "a question that is called off is answered to nobody") {
  auto probe = ask_readiness(*loop, *children, {.command = {"sleep", "1000"}},
                             [](bool) { FAIL("it was called off"); });
  probe.reset();
  CHECK(ask({.command = {"true"}}));
}

}  // namespace sluice::agent
