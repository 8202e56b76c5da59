#include "agent/container/cgroup.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "agent/os/file.h"
#include "agent/os/text.h"
#include "base/number.h"

namespace sluice::agent {

namespace {

constexpr std::uint64_t kCpuPeriod = 100'000;  ///< Microseconds.

/// The number after a name: "name 17" on a line of its own, or "name=17" among others of all lines,
/// summed.
std::uint64_t value_of(const std::string& text, std::string_view name, char separator) {
  std::uint64_t sum = 0;
  std::string_view rest = text;
  while (!rest.empty()) {
    std::string_view line = take_part(rest, '\n');
    if (separator == ' ') {
      if (take_part(line, ' ') == name) sum += parse_number<std::uint64_t>(line).value_or(0);
      continue;
    }
    while (!line.empty()) {
      std::string_view word = take_part(line, ' ');
      if (take_part(word, separator) == name) sum += parse_number<std::uint64_t>(word).value_or(0);
    }
  }
  return sum;
}

}  // namespace

bool Cgroup::is_there() const {
  return ::access(file("cgroup.procs").c_str(), F_OK) == 0;
}

Status Cgroup::write(const char* name, std::string_view text) const {
  // It must not make a file where there is no cgroup2.
  if (::access(file(name).c_str(), F_OK) != 0) return Status::from_errno(errno, file(name));
  return write_file(file(name), text);
}

Status Cgroup::kill() const {
  return write("cgroup.kill", "1");
}

Status Cgroup::freeze(bool frozen) const {
  return write("cgroup.freeze", frozen ? "1" : "0");
}

bool Cgroup::is_frozen() const {
  return value_of(read_file(file("cgroup.events")).value_or(""), "frozen", ' ') == 1;
}

/// "max" is 0.
std::uint64_t Cgroup::number(const char* name) const {
  return parse_number<std::uint64_t>(read_line(file(name))).value_or(0);
}

CgroupUsage Cgroup::usage() const {
  std::string cpu = read_file(file("cpu.stat")).value_or("");
  std::string io = read_file(file("io.stat")).value_or("");
  std::string events = read_file(file("memory.events")).value_or("");
  return {.cpu_us = value_of(cpu, "usage_usec", ' '),
          .user_us = value_of(cpu, "user_usec", ' '),
          .system_us = value_of(cpu, "system_usec", ' '),
          .memory = number("memory.current"),
          .memory_peak = number("memory.peak"),
          .memory_limit = number("memory.max"),
          .oom_kills = value_of(events, "oom_kill", ' '),
          .pids = number("pids.current"),
          .pids_limit = number("pids.max"),
          .read_bytes = value_of(io, "rbytes", '='),
          .written_bytes = value_of(io, "wbytes", '=')};
}

std::vector<pid_t> Cgroup::processes() const {
  std::vector<pid_t> pids;
  std::string text = read_file(file("cgroup.procs")).value_or("");
  std::string_view rest = text;
  while (!rest.empty()) {
    if (auto pid = parse_number<pid_t>(take_part(rest, '\n')); pid && *pid > 0) {
      pids.push_back(*pid);
    }
  }
  return pids;
}

Status Cgroup::set(const ContainerLimits& limits) const {
  Status first;
  auto put = [&](const char* name, const std::string& value) {
    Status status = write(name, value);
    if (!status && first) first = status;
  };
  auto put_number = [&](const char* name, std::uint64_t value) {
    if (value > 0) put(name, fmt::format("{}", value));
  };
  put_number("memory.max", limits.memory);
  put_number("memory.swap.max", limits.memory_swap);
  put_number("cpu.weight", limits.cpu_weight);
  put_number("pids.max", limits.pids);
  put_number("io.weight", limits.io_weight);
  if (limits.cpu_millis > 0) {
    put("cpu.max", fmt::format("{} {}", limits.cpu_millis * (kCpuPeriod / 1000), kCpuPeriod));
  }
  if (!limits.cpus.empty()) put("cpuset.cpus", limits.cpus);
  return first;
}

}  // namespace sluice::agent
