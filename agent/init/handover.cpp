#include "agent/init/handover.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>

#include "base/unique_fd.h"

namespace sluice::agent {

namespace {

/// What takes longer hangs, and the other init is not to wait for it.
constexpr int kPrepareMs = 60'000;

void wait_for_byte(int fd) {
  pollfd watched{.fd = fd, .events = POLLIN, .revents = 0};
  while (::poll(&watched, 1, kPrepareMs) < 0 && errno == EINTR) {
  }
}

/// Of a PID 1 that is another program: nothing of ours is left to it.
void become(const std::string& init) {
  struct sigaction usual{};
  usual.sa_handler = SIG_DFL;
  ::sigaction(SIGPIPE, &usual, nullptr);
  const char* argv[] = {init.c_str(), nullptr};
  ::execv(init.c_str(), const_cast<char**>(argv));
}

}  // namespace

AfterHandover hand_over(BootReport& boot, const std::string& init, void (*prepare)(BootReport&)) {
  auto step = boot.begin("handover to " + init, true);
  auto fail = [&](int error, std::string_view what) {
    boot.failed(step, error, fmt::format("{}: {}", what, std::strerror(error)));
    return AfterHandover::init;
  };
  int ends[2];
  // Both close when PID 1 becomes another program, which is how the child knows.
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
    return fail(errno, "socketpair");
  }
  UniqueFd ours(ends[0]);
  UniqueFd childs(ends[1]);
  if (::access(init.c_str(), X_OK) != 0) return fail(errno, "execve");
  pid_t pid = ::fork();
  if (pid < 0) return fail(errno, "fork");
  if (pid == 0) {
    ours.reset();
    ::setsid();
    prepare(boot);
    char byte = 0;
    [[maybe_unused]] ssize_t told = ::write(childs.get(), &byte, 1);
    while (::read(childs.get(), &byte, 1) < 0 && errno == EINTR) {
    }
    boot.done(step);
    return AfterHandover::companion;
  }
  childs.reset();
  wait_for_byte(ours.get());
  become(init);
  int error = errno;
  ::kill(pid, SIGKILL);
  ::waitpid(pid, nullptr, 0);
  return fail(error, "execve");
}

}  // namespace sluice::agent
