#include "namespace_kit.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <thread>

extern char** environ;

namespace sluice::test {
namespace {

constexpr std::chrono::seconds kTestLimit{60};

}  // namespace

std::optional<Namespace> Namespace::make() {
  UniqueFd fd;
  std::thread thread([&] {
    if (::unshare(CLONE_NEWNET) == 0) {
      fd.reset(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
    }
  });
  thread.join();
  if (fd) return Namespace(std::move(fd));
  WARN("skipped: making a network namespace is not permitted");
  return std::nullopt;
}

void Namespace::run(const std::function<void()>& work) const {
  std::exception_ptr thrown;
  std::thread thread([&] {
    try {
      REQUIRE(::setns(fd_.get(), CLONE_NEWNET) == 0);
      work();
    } catch (...) {
      thrown = std::current_exception();
    }
  });
  thread.join();
  if (thrown) std::rethrow_exception(thrown);
}

Process::Process(const std::vector<std::string>& arguments) {
  std::vector<char*> argv;
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  if (::posix_spawnp(&pid_, argv[0], nullptr, nullptr, argv.data(), environ) != 0) pid_ = -1;
}

Process::~Process() {
  if (pid_ < 0) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
}

std::optional<Cable> Cable::make() {
  auto guest = Namespace::make();
  auto server = Namespace::make();
  if (!guest || !server) return std::nullopt;
  std::string to_guest =
      "/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(guest->fd());
  server->run([&] {
    REQUIRE(
        run_command("ip link add srv0 type veth peer name eth0 address 02:00:00:00:00:77 "
                    "netns " +
                    to_guest +
                    " && ip link set lo up"
                    " && sysctl -q -w net.ipv6.conf.srv0.accept_dad=0"
                    " && ip link set srv0 up"
                    " && ip addr add 10.77.0.1/24 dev srv0"
                    " && ip addr add fd77::1/64 dev srv0 nodad"));
  });
  return Cable{std::move(*guest), std::move(*server)};
}

bool run_command(const std::string& command) {
  return std::system(command.c_str()) == 0;
}

std::string output_of(const std::string& command) {
  std::string output;
  FILE* pipe = ::popen(command.c_str(), "r");
  if (!pipe) return output;
  char buffer[4096];
  while (std::size_t n = std::fread(buffer, 1, sizeof buffer, pipe)) output.append(buffer, n);
  ::pclose(pipe);
  return output;
}

bool run_until(UvLoop& loop, const std::function<bool()>& done) {
  TimePoint deadline = loop.now() + kTestLimit;
  std::unique_ptr<Timer> poll;
  poll = loop.make_timer([&] {
    if (done() || loop.now() > deadline) return loop.stop();
    poll->start(std::chrono::milliseconds(2));
  });
  poll->start(std::chrono::milliseconds(1));
  loop.run();
  return done();
}

}  // namespace sluice::test
