#include "agent/init/switch_root.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>

#include "agent/init/device.h"
#include "agent/os/file.h"
#include "agent/os/mount_table.h"
#include "agent/os/text.h"
#include "base/unique_fd.h"

namespace sluice::agent {

namespace {

constexpr const char* kNewRoot = "/.root";
constexpr std::string_view kVirtiofs = "virtiofs:";

/// 0, or the errno of the file system that came closest to be it.
int mount_device(const std::string& device, unsigned long flags) {
  int worst = ENODEV;
  for (const std::string& type : device_file_systems(read_file("/proc/filesystems").value_or(""))) {
    if (::mount(device.c_str(), kNewRoot, type.c_str(), flags, nullptr) == 0) return 0;
    // What a file system of another type says of a device.
    if (errno != EINVAL && errno != EUCLEAN) worst = errno;
  }
  return worst;
}

/// Everything below an open directory that is on the same device; other mounts stay. Closes it.
void delete_tree(int directory, dev_t device) {
  std::unique_ptr<DIR, int (*)(DIR*)> entries(::fdopendir(directory), ::closedir);
  if (!entries) return;
  while (dirent* entry = ::readdir(entries.get())) {
    std::string_view name = entry->d_name;
    if (name == "." || name == "..") continue;
    struct stat found{};
    if (::fstatat(directory, entry->d_name, &found, AT_SYMLINK_NOFOLLOW) != 0) continue;
    if (found.st_dev != device) continue;
    if (S_ISDIR(found.st_mode)) {
      int below = ::openat(directory, entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
      if (below >= 0) delete_tree(below, device);
      ::unlinkat(directory, entry->d_name, AT_REMOVEDIR);
    } else {
      ::unlinkat(directory, entry->d_name, 0);
    }
  }
}

}  // namespace

bool is_in_initramfs() {
  std::string type;
  for (const MountedAt& mount : mount_table()) {
    if (mount.target == "/") type = mount.type;
  }
  return type == "rootfs";
}

std::vector<std::string> device_file_systems(std::string_view proc_filesystems) {
  std::vector<std::string> types;
  while (!proc_filesystems.empty()) {
    std::string_view line = take_part(proc_filesystems, '\n');
    if (line.starts_with('\t') && line.size() > 1) types.emplace_back(line.substr(1));
  }
  std::reverse(types.begin(), types.end());
  return types;
}

void switch_root(BootReport& boot, const RootSource& source) {
  auto step = boot.begin("root " + source.device, true);
  auto fail = [&](int error, std::string_view what) {
    boot.failed(step, error, fmt::format("{}: {}", what, std::strerror(error)));
  };
  ::mkdir(kNewRoot, 0755);
  unsigned long flags = source.writable ? 0 : MS_RDONLY;
  if (source.device.starts_with(kVirtiofs)) {
    std::string tag = source.device.substr(kVirtiofs.size());
    if (::mount(tag.c_str(), kNewRoot, "virtiofs", flags, nullptr) != 0) {
      return fail(errno, "mount virtiofs");
    }
  } else {
    if (!wait_for_device(source.device)) {
      return boot.failed(step, ENOENT, "there is no such device, nor has one come in 10 s");
    }
    if (int error = mount_device(source.device, flags); error != 0) return fail(error, "mount");
  }
  for (const char* path : {"/proc", "/sys", "/dev"}) {
    std::string to = fmt::format("{}{}", kNewRoot, path);
    if (::mount(path, to.c_str(), nullptr, MS_MOVE, nullptr) != 0) {
      int error = errno;
      ::umount2(kNewRoot, MNT_DETACH);
      return fail(error, fmt::format("move {} into it", path));
    }
  }
  int initramfs = ::open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  struct stat old{};
  ::fstat(initramfs, &old);
  if (::chdir(kNewRoot) != 0 || ::mount(".", "/", nullptr, MS_MOVE, nullptr) != 0 ||
      ::chroot(".") != 0 || ::chdir("/") != 0) {
    return fail(errno, "make it the root");
  }
  if (initramfs >= 0) delete_tree(initramfs, old.st_dev);
  const char* argv[] = {source.init.c_str(), nullptr};
  ::execv(argv[0], const_cast<char**>(argv));
  fail(errno, fmt::format("start {}", source.init));
}

}  // namespace sluice::agent
