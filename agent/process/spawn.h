#pragma once

#include <sys/types.h>

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "agent/process/identity.h"

namespace sluice::agent {

/// PATH of a program for which nobody says another.
inline constexpr const char* kUsualPath =
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What a child becomes. It leads a session and a process group of its own, has no signal blocked
/// or ignored, no descriptor but its three, the kernel's usual place in an OOM, and the limit of
/// descriptors that we began with.
struct SpawnPlan {
  std::string program;  ///< A path.
  std::vector<std::string> args;
  std::vector<std::string> env;  ///< "NAME=value"
  std::string cwd = "/";
  Identity identity;
  std::array<int, 3> stdio{-1, -1, -1};  ///< Stay the caller's. -1 is /dev/null.
  bool controlling_terminal = false;     ///< stdio[0] becomes it.
  std::string cgroup_procs;  ///< The cgroup.procs of the cgroup that it begins in; "": ours.
};

/// The child's pid, or what it failed at: the call returns when the program is running. Nothing is
/// left of a child that failed.
struct Spawned {
  pid_t pid = -1;
  int error = 0;     ///< errno
  std::string step;  ///< "execve /bin/x", "chdir /y", "setuid 5"
};

/// Single-threaded callers only. The caller registers the child with Children.
Spawned spawn(const SpawnPlan& plan);

/// The program that `name` stands for along `path` (PATH's form) as seen from `cwd`; `name` itself
/// where it has a '/'. Empty, with `error` ENOENT or EACCES, where there is none.
std::string find_program(const std::string& name, std::string_view path, const std::string& cwd,
                         int& error);

}  // namespace sluice::agent
