#include "agent/container/rootfs.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/openat2.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <memory>

#include "agent/os/file.h"
#include "base/unique_fd.h"

namespace sluice::agent {

namespace {

constexpr std::size_t kMaxUsersFile = std::size_t{4} << 20;
/// The kernel's own limit of overlayfs.
constexpr std::size_t kMostLayers = 500;

UniqueFd open_in_root(const std::string& root, const std::string& path) {
  UniqueFd top(::open(root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!top) return {};
  open_how how{};
  // A FIFO must not stop us.
  how.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
  how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
  return UniqueFd(
      static_cast<int>(::syscall(SYS_openat2, top.get(), path.c_str(), &how, sizeof how)));
}

/// Empties a directory whose descriptor it takes. Depth is bounded by PATH_MAX of what made it, and
/// by the descriptors that there are.
void empty_directory(UniqueFd directory, dev_t device) {
  int fd = directory.release();
  std::unique_ptr<DIR, int (*)(DIR*)> entries(::fdopendir(fd), ::closedir);
  if (!entries) {
    ::close(fd);
    return;
  }
  while (dirent* entry = ::readdir(entries.get())) {
    std::string_view name = entry->d_name;
    if (name == "." || name == "..") continue;
    if (::unlinkat(fd, entry->d_name, 0) == 0 || (errno != EISDIR && errno != EPERM)) continue;
    struct stat found{};
    UniqueFd below(::openat(fd, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!below || ::fstat(below.get(), &found) != 0 || found.st_dev != device) continue;
    empty_directory(std::move(below), device);
    ::unlinkat(fd, entry->d_name, AT_REMOVEDIR);
  }
}

}  // namespace

std::optional<std::string> read_in_root(const std::string& root, const std::string& path,
                                        std::size_t most) {
  UniqueFd fd = open_in_root(root, path);
  struct stat file{};
  if (!fd || ::fstat(fd.get(), &file) != 0 || !S_ISREG(file.st_mode)) return std::nullopt;
  return read_file(fmt::format("/proc/self/fd/{}", fd.get()), most);
}

Result<Identity> identity_in_root(const std::string& root, std::string_view user) {
  return identity_of(read_in_root(root, "etc/passwd", kMaxUsersFile).value_or(""),
                     read_in_root(root, "etc/group", kMaxUsersFile).value_or(""), user);
}

Status mount_layers(const std::vector<std::string>& layers, const std::string& directory,
                    const std::string& links, const std::string& target) {
  if (layers.empty() || layers.size() > kMostLayers) {
    return Status(
        StatusCode::invalid_argument,
        fmt::format("an image of {} layers; 1 to {} can be mounted", layers.size(), kMostLayers));
  }
  for (const std::string& path : {directory + "/upper", directory + "/work", links, target}) {
    if (Status status = make_directories(path); !status) return status;
  }
  std::string lower;
  for (std::size_t i = layers.size(); i-- > 0;) {
    std::string link = fmt::format("{}/{}", links, i);
    ::unlink(link.c_str());
    if (::symlink(layers[i].c_str(), link.c_str()) != 0) {
      return Status::from_errno(errno, "symlink " + link);
    }
    lower += fmt::format("{}{}", lower.empty() ? "" : ":", i);
  }
  UniqueFd before(::open(".", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!before || ::chdir(links.c_str()) != 0) return Status::from_errno(errno, "chdir " + links);
  std::string options =
      fmt::format("lowerdir={0},upperdir={1}/upper,workdir={1}/work", lower, directory);
  int mounted = ::mount("overlay", target.c_str(), "overlay", 0, options.c_str());
  int error = errno;
  if (::fchdir(before.get()) != 0) [[maybe_unused]]
    int root = ::chdir("/");
  if (mounted != 0) return Status::from_errno(error, "mount the image's layers");
  return Status::ok();
}

void unmount_layers(const std::string& target) {
  ::umount2(target.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW);
}

void remove_tree(const std::string& path) {
  UniqueFd top(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  struct stat found{};
  if (top && ::fstat(top.get(), &found) == 0) empty_directory(std::move(top), found.st_dev);
  ::rmdir(path.c_str());
}

}  // namespace sluice::agent
