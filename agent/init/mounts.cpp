#include "agent/init/mounts.h"

#include <fmt/format.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "agent/os/file.h"
#include "agent/os/mount_table.h"
#include "agent/os/text.h"

namespace sluice::agent {

namespace {

enum class Need : std::uint8_t { mandatory, optional };

struct Entry {
  const char* target;
  const char* type;
  const char* source;
  unsigned long flags;
  const char* data;
  Need need;
};

constexpr unsigned long kQuiet = MS_NOSUID | MS_NODEV | MS_NOEXEC;

constexpr Entry kKernel[] = {
    {"/proc", "proc", "proc", kQuiet, "", Need::mandatory},
    {"/sys", "sysfs", "sysfs", kQuiet, "", Need::mandatory},
    {"/dev", "devtmpfs", "devtmpfs", MS_NOSUID | MS_NOEXEC, "mode=0755", Need::mandatory},
};

constexpr Entry kRest[] = {
    {"/dev/pts", "devpts", "devpts", MS_NOSUID | MS_NOEXEC,
     "newinstance,ptmxmode=0666,mode=0620,gid=5", Need::optional},
    {"/dev/shm", "tmpfs", "shm", MS_NOSUID | MS_NODEV, "mode=1777", Need::optional},
    {"/dev/mqueue", "mqueue", "mqueue", kQuiet, "", Need::optional},
    {"/sys/fs/cgroup", "cgroup2", "cgroup2", kQuiet, "nsdelegate", Need::optional},
    {"/sys/kernel/security", "securityfs", "securityfs", kQuiet, "", Need::optional},
    {"/sys/kernel/tracing", "tracefs", "tracefs", kQuiet, "", Need::optional},
    {"/sys/fs/bpf", "bpf", "bpf", kQuiet, "mode=0700", Need::optional},
};

/// Where the root is read-only.
constexpr Entry kWritable[] = {
    {"/tmp", "tmpfs", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777,size=25%", Need::mandatory},
    {"/run", "tmpfs", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755,size=25%", Need::mandatory},
};

constexpr Entry kData = {"/var/lib/sluice",    "tmpfs",       "tmpfs", MS_NOSUID | MS_NODEV,
                         "mode=0755,size=50%", Need::optional};

struct DeviceLink {
  const char* path;
  const char* to;
};

constexpr DeviceLink kLinks[] = {
    {"/dev/fd", "/proc/self/fd"},       {"/dev/stdin", "/proc/self/fd/0"},
    {"/dev/stdout", "/proc/self/fd/1"}, {"/dev/stderr", "/proc/self/fd/2"},
    {"/dev/ptmx", "pts/ptmx"},
};

bool is_mount_point(const std::string& path) {
  struct stat here{};
  struct stat above{};
  return ::stat(path.c_str(), &here) == 0 && ::stat((path + "/..").c_str(), &above) == 0 &&
         here.st_dev != above.st_dev;
}

void mount_one(BootReport& boot, const Entry& entry) {
  auto step = boot.begin(fmt::format("mount {}", entry.target), entry.need == Need::mandatory);
  if (is_mount_point(entry.target)) {
    boot.skipped(step, "is mounted");
    return;
  }
  // On a read-only root it has to be there already; mount() then says what is wrong.
  ::mkdir(entry.target, 0755);
  if (::mount(entry.source, entry.target, entry.type, entry.flags, entry.data) == 0) {
    boot.done(step);
  } else if (entry.need == Need::optional && (errno == ENODEV || errno == ENOENT)) {
    boot.skipped(step, errno == ENODEV ? fmt::format("this kernel has no {}", entry.type)
                                       : "there is no such directory");
  } else {
    int error = errno;
    boot.failed(step, error,
                fmt::format("mount -t {} {}: {}", entry.type, entry.target, std::strerror(error)));
  }
}

void make_links(BootReport& boot) {
  auto step = boot.begin("links in /dev");
  for (const DeviceLink& link : kLinks) {
    struct stat found{};
    // The kernel's own /dev/ptmx is of another instance than the one mounted on /dev/pts.
    if (::lstat(link.path, &found) == 0 && !S_ISLNK(found.st_mode)) ::unlink(link.path);
    if (::symlink(link.to, link.path) != 0 && errno != EEXIST) {
      int error = errno;
      boot.failed(step, error, fmt::format("symlink {}: {}", link.path, std::strerror(error)));
      return;
    }
  }
  boot.done(step);
}

/// Every controller for the cgroups below, and the agent itself in a leaf: a cgroup with
/// controllers for its children can't have processes of its own.
void delegate_cgroups(BootReport& boot) {
  const std::string root = "/sys/fs/cgroup";
  auto step = boot.begin("cgroup controllers");
  std::string controllers = read_line(root + "/cgroup.controllers");
  if (controllers.empty()) {
    boot.skipped(step, "no cgroup2 controllers here");
    return;
  }
  ::mkdir((root + "/agent").c_str(), 0755);
  if (Status status = write_file(root + "/agent/cgroup.procs", "0"); !status) {
    boot.failed(step, 0, status.message());
    return;
  }
  std::string_view rest = controllers;
  std::string enabled;
  while (!rest.empty()) {
    std::string_view one = take_part(rest, ' ');
    if (write_file(root + "/cgroup.subtree_control", fmt::format("+{}", one))) {
      enabled += fmt::format("{}{}", enabled.empty() ? "" : " ", one);
    }
  }
  boot.done(step, enabled);
}

/// A directory of a read-only root that can be written to: its content below, a tmpfs above.
void overlay_on_tmpfs(BootReport& boot, const char* path) {
  auto step = boot.begin(fmt::format("make {} writable", path));
  std::string layer = fmt::format("/run/sluice/root{}", path);
  std::string data = fmt::format("lowerdir={0},upperdir={1}/upper,workdir={1}/work", path, layer);
  Status made = make_directories(layer + "/upper");
  if (made) made = make_directories(layer + "/work");
  if (!made) {
    boot.failed(step, 0, made.message());
    return;
  }
  if (::mount("overlay", path, "overlay", 0, data.c_str()) == 0) {
    boot.done(step, "overlay");
  } else if (::mount("tmpfs", path, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755,size=25%") == 0) {
    boot.done(step, "tmpfs, as there is no overlayfs: what the image has there is hidden");
  } else {
    int error = errno;
    boot.failed(step, error, fmt::format("mount {}: {}", path, std::strerror(error)));
  }
}

}  // namespace

void mount_kernel_file_systems(BootReport& boot) {
  for (const Entry& entry : kKernel) mount_one(boot, entry);
}

void mount_the_rest(BootReport& boot) {
  for (const Entry& entry : kRest) mount_one(boot, entry);
  make_links(boot);
  delegate_cgroups(boot);
  struct statvfs root{};
  if (::statvfs("/", &root) != 0 || (root.f_flag & ST_RDONLY) == 0) return;
  for (const Entry& entry : kWritable) mount_one(boot, entry);
  overlay_on_tmpfs(boot, "/etc");
  overlay_on_tmpfs(boot, "/var");
  // Images and containers are overlays themselves, which can't lie on another.
  [[maybe_unused]] Status made = make_directories(kData.target);
  mount_one(boot, kData);
}

void unmount_all() {
  std::vector<MountedAt> mounts = mount_table();
  std::reverse(mounts.begin(), mounts.end());
  for (const MountedAt& mount : mounts) {
    const std::string& target = mount.target;
    if (target == "/" || target == "/proc" || target == "/dev") continue;
    if (::umount2(target.c_str(), UMOUNT_NOFOLLOW) != 0) {
      ::mount(nullptr, target.c_str(), nullptr, MS_REMOUNT | MS_RDONLY | MS_BIND, nullptr);
      ::mount(nullptr, target.c_str(), nullptr, MS_REMOUNT | MS_RDONLY, nullptr);
    }
  }
  ::mount(nullptr, "/", nullptr, MS_REMOUNT | MS_RDONLY, nullptr);
}

}  // namespace sluice::agent
