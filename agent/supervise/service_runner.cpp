#include "agent/supervise/service_runner.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>

#include "agent/container/cgroup.h"
#include "agent/os/descriptor.h"
#include "agent/process/identity.h"
#include "agent/process/spawn.h"
#include "agent/supervise/readiness.h"

namespace sluice::agent {

namespace {

/// Its environment over what each program has.
std::vector<std::string> environment_of(const ServiceSpec& spec, const Identity& identity) {
  std::map<std::string, std::string> variables{
      {"PATH", kUsualPath}, {"HOME", identity.home}, {"USER", identity.name}};
  for (const auto& [name, value] : spec.env) variables[name] = value;
  std::vector<std::string> environment;
  for (const auto& [name, value] : variables)
    environment.push_back(fmt::format("{}={}", name, value));
  return environment;
}

}  // namespace

std::string LocalServices::cgroup_of(const ServiceSpec& spec) const {
  return fmt::format("{}/services/{}", cgroup_root_, spec.name);
}

Result<pid_t> LocalServices::start(const ServiceSpec& spec, Hooks hooks) {
  auto identity = find_identity("", spec.user);
  if (!identity) return identity.status();
  SpawnPlan plan;
  plan.args = spec.command;
  plan.identity = std::move(*identity);
  plan.env = environment_of(spec, plan.identity);
  plan.cwd = spec.cwd;
  int error = 0;
  auto path = spec.env.find("PATH");
  plan.program = find_program(spec.command[0], path == spec.env.end() ? kUsualPath : path->second,
                              spec.cwd, error);
  if (error != 0) return Status::from_errno(error, "execve " + spec.command[0]);

  Cgroup cgroup(cgroup_of(spec));
  if (Cgroup(cgroup_root_).is_there()) {
    ::mkdir((cgroup_root_ + "/services").c_str(), 0755);
    ::mkdir(cgroup.path().c_str(), 0755);
  }
  if (cgroup.is_there()) plan.cgroup_procs = cgroup.path() + "/cgroup.procs";
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return Status::from_errno(errno, "pipe");
  UniqueFd reader(ends[0]);
  UniqueFd writer(ends[1]);
  plan.stdio = {-1, writer.get(), writer.get()};
  Spawned child = spawn(plan);
  if (child.pid < 0) return Status::from_errno(child.error, child.step);

  make_non_blocking(reader.get());
  Output& output = outputs_[spec.name];
  output.watch.reset();
  output.fd = std::move(reader);
  output.on_output = std::move(hooks.on_output);
  output.watch = loop_.watch(output.fd.get(), {.readable = true},
                             [this, name = spec.name](FdReady) { read(name); });
  children_.add(child.pid,
                [this, name = spec.name, on_exit = std::move(hooks.on_exit)](const Exit& exit) {
                  // Its last words.
                  read(name);
                  on_exit(exit);
                });
  return child.pid;
}

// NOLINTNEXTLINE(performance-unnecessary-value-param)
void LocalServices::read(std::string name) {
  constexpr int kMostReads = 16;  // Of a turn of the loop.
  Output& output = outputs_[name];
  char chunk[4096];
  for (int i = 0; i < kMostReads && output.watch; ++i) {
    ssize_t got = ::read(output.fd.get(), chunk, sizeof chunk);
    if (got > 0) {
      output.on_output({chunk, static_cast<std::size_t>(got)});
    } else if (got < 0 && errno == EINTR) {
      continue;
    } else {
      // Nobody holds its other end any more.
      if (got == 0) output.watch.reset();
      return;
    }
  }
}

void LocalServices::signal(pid_t pid, int signal) {
  ::kill(pid, signal);
}

void LocalServices::kill_all(const ServiceSpec& spec, pid_t pid) {
  // Its group has its number for as long as there is one in it.
  ::kill(-pid, SIGKILL);
  Cgroup cgroup(cgroup_of(spec));
  if (cgroup.is_there() && !cgroup.kill()) {
    // Before Linux 5.14.
    for (pid_t one : cgroup.processes()) ::kill(one, SIGKILL);
  }
}

std::unique_ptr<Probe> LocalServices::probe(const Readiness& ready,
                                            std::function<void(bool)> on_answer) {
  return ask_readiness(loop_, children_, ready, std::move(on_answer));
}

}  // namespace sluice::agent
