#include <fcntl.h>
#include <fmt/format.h>
#include <malloc.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <string>
#include <vector>

#include "agent/agent.h"
#include "agent/container/shim.h"
#include "agent/init/handover.h"
#include "agent/init/modules.h"
#include "agent/init/mounts.h"
#include "agent/init/secrets.h"
#include "agent/init/switch_root.h"
#include "agent/os/file.h"
#include "agent/process/descriptor_limit.h"
#include "agent/version.h"
#include "base/log.h"

namespace sluice::agent {

namespace {

void print(int fd, const std::string& text) {
  [[maybe_unused]] ssize_t written = ::write(fd, text.data(), text.size());
}

void log_to(int fd) {
  set_log_sink([fd](LogLevel, std::string_view line) { print(fd, fmt::format("{}\n", line)); },
               LogLevel::info);
}

/// The kernel's init has no standard streams where the image has no /dev/console.
void open_console() {
  int console = ::open("/dev/console", O_RDWR | O_NOCTTY);
  for (int fd = 0; fd < 3; ++fd) {
    if (::fcntl(fd, F_GETFD) < 0 && console >= 0) ::dup2(console, fd);
  }
  if (console > STDERR_FILENO) ::close(console);
}

/// As a child of the init that PID 1 has become. It ends when that says so.
[[noreturn]] void run_beside(Options options, BootReport& boot) {
  auto agent = Agent::create(Agent::Role::service, std::move(options), boot);
  if (agent) {
    [[maybe_unused]] Status partly = (*agent)->serve();
    (*agent)->bring_up_beside();
    (*agent)->run();
  }
  ::_exit(agent ? 0 : 1);
}

/// PID 1 never ends: the kernel would panic, and nobody could ask why.
[[noreturn]] void run_as_init() {
  BootReport boot;
  mount_kernel_file_systems(boot);
  open_console();
  log_to(STDERR_FILENO);
  auto tell = [](const BootReport::Step& step) {
    if (step.result == BootReport::Result::failed) {
      log(LogLevel::error, "agent: {}: {}", step.name, step.message);
    }
  };
  for (const BootReport::Step& step : boot.steps()) tell(step);
  boot.add_listener(tell);

  Options options = options_of_kernel(read_file("/proc/cmdline").value_or(""));
  if (!options.root.device.empty() && is_in_initramfs()) {
    load_modules(boot, options.modules);
    switch_root(boot, options.root);
  }
  // Not before: the init of another root reads it again.
  if (options.tcp.token) hide_token(boot, options.tcp.token->digits());
  if (!options.handover.empty()) {
    load_modules(boot, options.modules);
    if (hand_over(boot, options.handover, mount_the_rest) == AfterHandover::companion) {
      run_beside(std::move(options), boot);
    }
  }
  raise_descriptor_limit(true);
  auto agent = Agent::create(Agent::Role::init, std::move(options), boot);
  if (agent) {
    [[maybe_unused]] Status partly = (*agent)->serve();
    (*agent)->bring_up();
    (*agent)->run();
  }
  log(LogLevel::error, "agent: can't run: {}", agent.status().message());
  for (;;) ::pause();
}

int run_as_service(const std::vector<std::string>& arguments) {
  for (const std::string& argument : arguments) {
    if (argument == "--help" || argument == "-h") {
      print(STDOUT_FILENO, usage());
      return 0;
    }
    if (argument == "--version") {
      print(STDOUT_FILENO, fmt::format("agent {}\n", kVersion));
      return 0;
    }
  }
  log_to(STDERR_FILENO);
  auto options = options_of_arguments(arguments);
  if (!options) {
    log(LogLevel::error, "agent: {}", options.status().message());
    return 2;
  }
  if (options->unix_sockets.empty() && !options->vsock_port && options->serial.empty() &&
      !options->tcp.listen && !options->legacy_port && options->legacy_unix.empty() &&
      !options->stdio) {
    log(LogLevel::error,
        "agent: nothing to serve on: --unix PATH, --vsock, --tcp, --serial or --stdio");
    return 2;
  }
  raise_descriptor_limit(false);
  BootReport boot;
  auto agent = Agent::create(Agent::Role::service, std::move(*options), boot);
  Status status = agent ? (*agent)->serve() : agent.status();
  if (!status) {
    log(LogLevel::error, "agent: {}", status.message());
    return 1;
  }
  (*agent)->run();
  return 0;
}

}  // namespace

}  // namespace sluice::agent

int main(int argc, char** argv) {
  // What one large message took goes back to the guest. By default the limit grows with use.
  constexpr int kLargeBlock = 128 << 10;
  ::mallopt(M_MMAP_THRESHOLD, kLargeBlock);
  std::signal(SIGPIPE, SIG_IGN);
  std::vector<std::string> arguments(argv + 1, argv + argc);
  if (!arguments.empty() && arguments[0] == "shim") {
    arguments.erase(arguments.begin());
    return sluice::agent::run_shim(arguments);
  }
  if (::getpid() == 1) sluice::agent::run_as_init();
  return sluice::agent::run_as_service(arguments);
}
