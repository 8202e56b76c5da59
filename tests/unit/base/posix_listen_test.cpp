#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <vector>

#include "base/loop_runner.h"
#include "base/posix_net.h"
#include "base/posix_unix.h"
#include "base/socket_log.h"

using namespace sluice;
using namespace std::chrono_literals;
using test::SocketLog;

namespace {

struct World {
  test::LoopRunner runner;
  std::unique_ptr<PosixNet> net = std::make_unique<PosixNet>(runner.loop().poller());
};

class TempDir {
 public:
  TempDir() {
    char name[] = "/tmp/sluice-unit-XXXXXX";
    REQUIRE(::mkdtemp(name));
    path_ = name;
  }
  ~TempDir() { std::filesystem::remove_all(path_); }
  std::string file(const char* name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

bool exists(const std::string& path) {
  struct stat info{};
  return ::lstat(path.c_str(), &info) == 0;
}

/// Leaves a socket file that nobody answers behind, as a process does that was killed.
void leave_stale_socket(const std::string& path) {
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  auto address = unix_address(path);
  REQUIRE(::bind(fd.get(), reinterpret_cast<sockaddr*>(&*address), sizeof *address) == 0);
}

/// Lowers this process's limit of descriptors to what is open, and puts it back.
class NoMoreDescriptors {
 public:
  NoMoreDescriptors() {
    ::getrlimit(RLIMIT_NOFILE, &before_);
    UniqueFd next(::dup(0));
    rlimit low = before_;
    low.rlim_cur = static_cast<rlim_t>(next.get());
    ::setrlimit(RLIMIT_NOFILE, &low);
  }
  ~NoMoreDescriptors() { ::setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  rlimit before_{};
};

}  // namespace

TEST_CASE("port 0 listens on a port of the kernel's choice, and a taken port is refused") {
  World world;
  auto first = std::move(world.net->listen_tcp({IpAddress::loopback(Family::v4), Port()}).value());
  REQUIRE(first->local());
  CHECK(first->local()->port.value() != 0);
  auto second = world.net->listen_tcp(*first->local());
  REQUIRE_FALSE(second);
  CHECK(second.status().code() == StatusCode::already_exists);
  CHECK(second.status().message().find(first->local()->to_string()) != std::string::npos);
}

TEST_CASE("an IPv6 listener leaves the IPv4 port free") {
  World world;
  auto v6 = std::move(world.net->listen_tcp({IpAddress::any(Family::v6), Port()}).value());
  auto v4 = world.net->listen_tcp({IpAddress::any(Family::v4), v6->local()->port});
  CHECK(v4.is_ok());
}

TEST_CASE("a listener without descriptors rests, and accepts once there are some") {
  World world;
  auto listener =
      std::move(world.net->listen_tcp({IpAddress::loopback(Family::v4), Port()}).value());
  auto client = std::move(world.net->dial_tcp(*listener->local()).value());
  std::unique_ptr<StreamSocket> accepted;
  int last_error = 0;
  SocketLog log;
  log.on_ready = [&](SocketReady) {
    auto next = listener->accept();
    last_error = next.error;
    if (next.socket) accepted = std::move(next.socket);
  };
  listener->set_handler(&log);
  int calls = 0, error = 0;
  std::clock_t before = std::clock();
  {
    // No assertions in here: the sanitizers' checks of them need descriptors of their own.
    NoMoreDescriptors none;
    world.runner.run_for(350ms);
    calls = log.calls;
    error = last_error;
  }
  CHECK(error == EMFILE);
  CHECK(calls >= 2);
  CHECK(calls <= 5);
  CHECK(static_cast<double>(std::clock() - before) / CLOCKS_PER_SEC < 0.2);
  REQUIRE(world.runner.run_until([&] { return accepted != nullptr; }));
}

TEST_CASE("a Unix listener accepts what dial_unix() dials, and takes its file away") {
  World world;
  TempDir dir;
  std::string path = dir.file("s");
  {
    auto listener = std::move(world.net->listen_unix(path).value());
    CHECK(exists(path));
    CHECK_FALSE(listener->local());
    SocketLog listener_log, client_log;
    listener->set_handler(&listener_log);
    auto client = std::move(world.net->dial_unix(path).value());
    client->set_handler(&client_log);
    REQUIRE(world.runner.run_until([&] { return listener_log.readable && client_log.writable; }));
    CHECK(client->connect_result() == 0);
    auto server = std::move(listener->accept().socket);
    REQUIRE(server);
    test::send_text(*client, "hello");
    std::string got;
    test::receive_all(*server, got);
    CHECK(got == "hello");
  }
  CHECK_FALSE(exists(path));
}

TEST_CASE("dialling a Unix path where nobody listens fails like a refused connection") {
  World world;
  TempDir dir;
  SocketLog log;
  auto dial = [&](const std::string& path) {
    auto client = std::move(world.net->dial_unix(path).value());
    log.clear();
    client->set_handler(&log);
    REQUIRE(world.runner.run_until([&] { return log.calls > 0; }));
    return client->connect_result();
  };
  CHECK(dial(dir.file("none")) == ENOENT);
  leave_stale_socket(dir.file("stale"));
  CHECK(dial(dir.file("stale")) == ECONNREFUSED);
}

TEST_CASE("a stale Unix socket is replaced") {
  World world;
  TempDir dir;
  leave_stale_socket(dir.file("s"));
  CHECK(world.net->listen_unix(dir.file("s")).is_ok());
}

TEST_CASE("a Unix path where somebody listens, or that is no socket, is left alone") {
  World world;
  TempDir dir;
  SECTION("a listener") {
    auto first = world.net->listen_unix(dir.file("s"));
    auto second = world.net->listen_unix(dir.file("s"));
    REQUIRE_FALSE(second);
    CHECK(second.status().code() == StatusCode::already_exists);
    CHECK(world.net->dial_unix(dir.file("s")).is_ok());
  }
  SECTION("a file") {
    std::ofstream(dir.file("s")) << "precious";
    CHECK_FALSE(world.net->listen_unix(dir.file("s")));
    std::string content;
    std::ifstream(dir.file("s")) >> content;
    CHECK(content == "precious");
  }
  SECTION("a symbolic link to a stale socket") {
    leave_stale_socket(dir.file("target"));
    std::filesystem::create_symlink(dir.file("target"), dir.file("s"));
    CHECK_FALSE(world.net->listen_unix(dir.file("s")));
    CHECK(exists(dir.file("target")));
  }
}

TEST_CASE("a Unix listener does not remove a file that took its path") {
  World world;
  TempDir dir;
  auto listener = std::move(world.net->listen_unix(dir.file("s")).value());
  std::filesystem::rename(dir.file("s"), dir.file("old"));
  std::ofstream(dir.file("s")) << "another";
  listener.reset();
  CHECK(exists(dir.file("s")));
}

TEST_CASE("a Unix path that does not fit the kernel's address is refused with its length") {
  World world;
  auto listener = world.net->listen_unix("/tmp/" + std::string(200, 'x'));
  REQUIRE_FALSE(listener);
  CHECK(listener.status().code() == StatusCode::invalid_argument);
  CHECK_FALSE(world.net->dial_unix(""));
}
