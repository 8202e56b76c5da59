#include "hostd/attach/unix_socket.h"

#include <sys/socket.h>
#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <fstream>

#include "hostd/port_kit.h"

namespace sluice::test {

namespace {

using Open = Result<UniqueFd> (*)(const std::string&);

}  // namespace

TEST_CASE("a socket is made for its owner alone") {
  TempDirectory directory;
  Open open = GENERATE(&hostd::listen_unix_stream, &hostd::bind_unix_datagram);
  std::string path = directory.path("nic");
  auto fd = open(path);
  REQUIRE(fd);
  struct stat info{};
  REQUIRE(::lstat(path.c_str(), &info) == 0);
  CHECK(S_ISSOCK(info.st_mode));
  CHECK((info.st_mode & 0777) == 0600);
}

TEST_CASE("a file that is no socket is left alone, and the error names it") {
  TempDirectory directory;
  Open open = GENERATE(&hostd::listen_unix_stream, &hostd::bind_unix_datagram);
  std::string path = directory.path("precious");
  std::ofstream(path) << "mine";
  auto fd = open(path);
  REQUIRE_FALSE(fd);
  CHECK(fd.status().code() == StatusCode::already_exists);
  CHECK(fd.status().message().find(path) != std::string::npos);
  std::string text;
  std::ifstream(path) >> text;
  CHECK(text == "mine");
}

TEST_CASE("a socket that nobody serves any more is replaced") {
  TempDirectory directory;
  Open open = GENERATE(&hostd::listen_unix_stream, &hostd::bind_unix_datagram);
  std::string path = directory.path("nic");
  {
    auto stale = open(path);
    REQUIRE(stale);
  }
  CHECK(open(path));
}

TEST_CASE("a second server at the same path is refused and disturbs nothing") {
  TempDirectory directory;
  Open open = GENERATE(&hostd::listen_unix_stream, &hostd::bind_unix_datagram);
  std::string path = directory.path("nic");
  auto first = open(path);
  REQUIRE(first);
  auto second = open(path);
  REQUIRE_FALSE(second);
  CHECK(second.status().code() == StatusCode::already_exists);
  struct stat info{};
  CHECK(::lstat(path.c_str(), &info) == 0);
}

TEST_CASE("a path longer than a socket's may be is refused") {
  TempDirectory directory;
  Open open = GENERATE(&hostd::listen_unix_stream, &hostd::bind_unix_datagram);
  auto fd = open(directory.path(std::string(200, 'x')));
  REQUIRE_FALSE(fd);
  CHECK(fd.status().code() == StatusCode::invalid_argument);
}

TEST_CASE("connecting where nobody listens says which") {
  TempDirectory directory;
  CHECK(hostd::connect_unix_stream(directory.path("none")).status().code() ==
        StatusCode::not_found);
  std::string path = directory.path("nic");
  {
    auto stale = hostd::listen_unix_stream(path);
    REQUIRE(stale);
  }
  CHECK(hostd::connect_unix_stream(path).status().code() == StatusCode::refused);
}

}  // namespace sluice::test
