#pragma once

#include <net/status.h>
#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "agent/container/spec.h"

namespace sluice::agent {

/// What a cgroup says; 0 where it has no such file.
struct CgroupUsage {
  std::uint64_t cpu_us = 0;
  std::uint64_t user_us = 0;
  std::uint64_t system_us = 0;
  std::uint64_t memory = 0;
  std::uint64_t memory_peak = 0;
  std::uint64_t memory_limit = 0;  ///< 0: none.
  std::uint64_t oom_kills = 0;
  std::uint64_t pids = 0;
  std::uint64_t pids_limit = 0;
  std::uint64_t read_bytes = 0;
  std::uint64_t written_bytes = 0;
};

/// A container's cgroup (cgroup2), by its directory. Nothing is kept: it may come and go.
class Cgroup {
 public:
  explicit Cgroup(std::string path) : path_(std::move(path)) {}

  const std::string& path() const { return path_; }
  bool is_there() const;
  /// SIGKILL to every process, those that fork too. not_found where there is no such file.
  Status kill() const;
  Status freeze(bool frozen) const;
  /// Every process stands still.
  bool is_frozen() const;
  CgroupUsage usage() const;
  /// In the VM.
  std::vector<pid_t> processes() const;
  /// Those of `limits` that are not 0.
  Status set(const ContainerLimits& limits) const;

 private:
  std::string file(const char* name) const { return path_ + "/" + name; }
  std::uint64_t number(const char* name) const;
  Status write(const char* name, std::string_view text) const;

  std::string path_;
};

}  // namespace sluice::agent
