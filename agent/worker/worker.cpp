#include "agent/worker/worker.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

#include "agent/os/descriptor.h"

namespace sluice::agent {

namespace {

volatile std::sig_atomic_t stopped = 0;

constexpr int kIn = 3;
constexpr int kOut = 4;

void take_signals() {
  struct sigaction action{};
  action.sa_handler = SIG_DFL;
  for (int number : {SIGINT, SIGCHLD, SIGHUP}) ::sigaction(number, &action, nullptr);
  action.sa_handler = SIG_IGN;
  ::sigaction(SIGPIPE, &action, nullptr);
  // Without SA_RESTART: what waits is to see it.
  action.sa_handler = [](int) { stopped = 1; };
  ::sigaction(SIGTERM, &action, nullptr);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

[[noreturn]] void run(const Job& job, int in, int out, pid_t agent) {
  // None of the agent's descriptors: a connection would outlive it here.
  constexpr int kAbove = 64;
  int kept_in = ::fcntl(in, F_DUPFD_CLOEXEC, kAbove);
  int kept_out = ::fcntl(out, F_DUPFD_CLOEXEC, kAbove);
  ::dup2(kept_in, kIn);
  ::dup2(kept_out, kOut);
  ::close_range(kOut + 1, ~0U, 0);
  int nothing = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  for (int fd : {STDIN_FILENO, STDOUT_FILENO}) {
    if (nothing >= 0) ::dup2(nothing, fd);
  }
  ::prctl(PR_SET_NAME, "agent-worker");
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  take_signals();
  if (::getppid() != agent) ::_exit(1);
  ::umask(022);
  JobIo io(kIn, kOut, [] { return stopped != 0; });
  job(io);
  // The agent's objects are not this process's to destroy.
  ::_exit(0);
}

}  // namespace

Result<Worker> start_worker(const Job& job) {
  int in[2];
  int out[2];
  if (::pipe2(in, O_CLOEXEC) != 0) return os_error(errno, "pipe");
  UniqueFd in_reader(in[0]);
  UniqueFd in_writer(in[1]);
  if (::pipe2(out, O_CLOEXEC) != 0) return os_error(errno, "pipe");
  UniqueFd out_reader(out[0]);
  UniqueFd out_writer(out[1]);
  pid_t agent = ::getpid();
  // Until the worker is ready to be told to stop it isn't told.
  sigset_t stops;
  sigset_t before;
  sigemptyset(&stops);
  sigaddset(&stops, SIGTERM);
  ::sigprocmask(SIG_BLOCK, &stops, &before);
  pid_t pid = ::fork();
  if (pid == 0) run(job, in_reader.get(), out_writer.get(), agent);
  int error = errno;
  ::sigprocmask(SIG_SETMASK, &before, nullptr);
  if (pid < 0) return os_error(error, "fork");
  make_non_blocking(in_writer.get());
  make_non_blocking(out_reader.get());
  return Worker{.pid = pid, .in = std::move(in_writer), .out = std::move(out_reader)};
}

}  // namespace sluice::agent
