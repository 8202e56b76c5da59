#include "agent/supervise/system_table.h"

#include <fmt/format.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstring>

#include "agent/init/modules.h"
#include "agent/os/file.h"
#include "agent/os/mount_table.h"

namespace sluice::agent {

namespace {

void fail(BootReport& boot, BootReport::Index step, int error, const std::string& what) {
  boot.failed(step, error, fmt::format("{}: {}", what, std::strerror(error)));
}

void make(BootReport& boot, const DirectorySpec& spec) {
  auto step = boot.begin("directory " + spec.path);
  struct stat found{};
  if (::stat(spec.path.c_str(), &found) == 0 && S_ISDIR(found.st_mode)) {
    return boot.skipped(step, "is there");
  }
  if (Status status = make_directories(spec.path, spec.mode); !status) {
    return boot.failed(step, 0, status.message());
  }
  // Whatever the umask is.
  ::chmod(spec.path.c_str(), spec.mode);
  boot.done(step);
}

void make(BootReport& boot, const LinkSpec& spec) {
  auto step = boot.begin("link " + spec.path);
  char to[PATH_MAX];
  ssize_t size = ::readlink(spec.path.c_str(), to, sizeof to);
  if (size >= 0 && std::string_view(to, static_cast<std::size_t>(size)) == spec.to) {
    return boot.skipped(step, "is there");
  }
  if (size >= 0) ::unlink(spec.path.c_str());
  if (auto slash = spec.path.rfind('/'); slash > 0) {
    (void)make_directories(spec.path.substr(0, slash)).is_ok();
  }
  if (::symlink(spec.to.c_str(), spec.path.c_str()) != 0) return fail(boot, step, errno, "symlink");
  boot.done(step, "to " + spec.to);
}

bool is_mounted(const std::string& target) {
  for (const MountedAt& one : mount_table()) {
    if (one.target == target) return true;
  }
  return false;
}

void make(BootReport& boot, const MountSpec& spec) {
  auto step = boot.begin(fmt::format("mount {}", spec.target));
  if (is_mounted(spec.target)) return boot.skipped(step, "is mounted");
  Status made = make_directories(spec.target);
  load_module(spec.type);
  unsigned long flags = spec.read_only ? MS_RDONLY : 0;
  if (made && ::mount(spec.source.c_str(), spec.target.c_str(), spec.type.c_str(), flags,
                      spec.options.c_str()) == 0) {
    return boot.done(step, fmt::format("{} {}", spec.type, spec.source));
  }
  int error = made ? errno : 0;
  std::string what =
      made ? fmt::format("mount -t {} {}: {}", spec.type, spec.source, std::strerror(error))
           : made.message();
  if (spec.optional) {
    boot.skipped(step, std::move(what));
  } else {
    boot.failed(step, error, std::move(what));
  }
}

}  // namespace

void lay_out(BootReport& boot, const SystemTable& table) {
  for (const DirectorySpec& one : table.directories) make(boot, one);
  for (const MountSpec& one : table.mounts) make(boot, one);
  for (const LinkSpec& one : table.links) make(boot, one);
}

}  // namespace sluice::agent
