#include "agent/archive/root.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <vector>

#include "agent/archive/stream.h"
#include "agent/os/text.h"

namespace sluice::agent {

namespace {

/// The kernel's own limit.
constexpr int kMaxLinks = 40;
/// It can't tell whether a path with ".." stayed inside while somebody renames directories.
constexpr int kTries = 16;
constexpr std::size_t kLinkBytes = 4096;

int open_within(int root, const std::string& path, int flags, bool follows_links) {
  open_how how{};
  how.flags = static_cast<std::uint64_t>(flags) | O_CLOEXEC;
  how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
  if (!follows_links) how.resolve |= RESOLVE_NO_SYMLINKS;
  const char* name = path.empty() ? "." : path.c_str();
  for (int tries = 0; tries < kTries; ++tries) {
    long fd = ::syscall(SYS_openat2, root, name, &how, sizeof how);
    if (fd >= 0) return static_cast<int>(fd);
    if (errno != EAGAIN && errno != EINTR) return -1;
  }
  return -1;
}

std::string join(const std::string& above, const std::string& name) {
  return above.empty() ? name : above + "/" + name;
}

}  // namespace

Result<Root> Root::open(const std::string& path) {
  UniqueFd directory(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!directory) return os_error(errno, "open " + path);
  return Root(std::move(directory));
}

UniqueFd Root::open_at(const std::string& path, int flags) const {
  return UniqueFd(open_within(directory_.get(), path, flags, follows_links_));
}

Result<UniqueFd> Root::make_directories(const std::string& path, unsigned mode) const {
  constexpr int kFlags = O_RDONLY | O_DIRECTORY;
  UniqueFd found = open_at(path, kFlags);
  if (found || errno != ENOENT) {
    if (!found) return os_error(errno, "open " + path);
    return found;
  }
  std::string so_far;
  UniqueFd above = open_at("", kFlags);
  std::string_view rest(path);
  while (!rest.empty()) {
    std::string name(take_part(rest, '/'));
    if (name.empty() || name == ".") continue;
    so_far = join(so_far, name);
    UniqueFd next = open_at(so_far, kFlags);
    if (!next && errno == ENOENT) {
      struct stat before{};
      ::fstat(above.get(), &before);
      // A link that leads nowhere is there already, and can't be opened the second time either.
      if (::mkdirat(above.get(), name.c_str(), mode) != 0 && errno != EEXIST) {
        return os_error(errno, "mkdir " + so_far);
      }
      timespec times[2]{{.tv_sec = 0, .tv_nsec = UTIME_OMIT}, before.st_mtim};
      ::futimens(above.get(), times);
      next = open_at(so_far, kFlags);
    }
    if (!next) return os_error(errno, "open " + so_far);
    above = std::move(next);
  }
  return above;
}

Result<Root::Place> Root::find(const std::string& path, LastLink last) const {
  SplitPath split = split_path(path);
  for (int links = 0; links <= kMaxLinks; ++links) {
    if (split.name.empty() || split.name == "..") {
      // The root, or a path that ends in "..": a directory for sure, and by this name in itself.
      UniqueFd directory = open_at(join(split.above, split.name), O_RDONLY | O_DIRECTORY);
      if (!directory) return os_error(errno, "open " + path);
      return Place{std::move(directory), "."};
    }
    UniqueFd parent = open_at(split.above, O_RDONLY | O_DIRECTORY);
    if (!parent) return os_error(errno, "open " + path);
    char target[kLinkBytes];
    ssize_t size = last == LastLink::kept
                       ? -1
                       : ::readlinkat(parent.get(), split.name.c_str(), target, sizeof target);
    if (size < 0) return Place{std::move(parent), std::move(split.name)};
    std::string to(target, static_cast<std::size_t>(size));
    split = split_path(to.starts_with('/') ? to : join(split.above, to));
  }
  errno = ELOOP;
  return os_error(errno, "open " + path);
}

SplitPath split_path(std::string_view path) {
  SplitPath split;
  while (!path.empty()) {
    std::string_view part = take_part(path, '/');
    if (part.empty() || part == ".") continue;
    if (!split.name.empty()) split.above = join(split.above, split.name);
    split.name = part;
  }
  return split;
}

Status remove_tree(int parent, const std::string& name) {
  if (::unlinkat(parent, name.c_str(), 0) == 0 || errno == ENOENT) return Status::ok();
  if (errno != EISDIR && errno != EPERM) return os_error(errno, "remove " + name);

  // Depth first, and without recursion: a tree may be as deep as it likes. Going up is by "..",
  // checked against where we came from, so that only one directory is open.
  constexpr int kFlags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
  UniqueFd here(::openat(parent, name.c_str(), kFlags));
  if (!here) return os_error(errno, "remove " + name);
  struct Level {
    std::string name;
    dev_t device;
    ino_t inode;
  };
  std::vector<Level> levels;
  struct stat found{};
  ::fstat(here.get(), &found);
  levels.push_back({name, found.st_dev, found.st_ino});
  for (;;) {
    std::unique_ptr<DIR, int (*)(DIR*)> entries(::fdopendir(::dup(here.get())), ::closedir);
    if (!entries) return os_error(errno, "remove " + name);
    ::rewinddir(entries.get());
    std::string deeper;
    while (dirent* entry = ::readdir(entries.get())) {
      std::string one = entry->d_name;
      if (one == "." || one == "..") continue;
      if (::unlinkat(here.get(), one.c_str(), 0) == 0 || errno == ENOENT) continue;
      if (errno != EISDIR && errno != EPERM) return os_error(errno, "remove " + one);
      if (::unlinkat(here.get(), one.c_str(), AT_REMOVEDIR) == 0 || errno == ENOENT) continue;
      if (errno != ENOTEMPTY && errno != EEXIST) return os_error(errno, "remove " + one);
      deeper = one;
      break;
    }
    entries.reset();
    if (!deeper.empty()) {
      UniqueFd next(::openat(here.get(), deeper.c_str(), kFlags));
      if (!next) return os_error(errno, "remove " + deeper);
      ::fstat(next.get(), &found);
      levels.push_back({deeper, found.st_dev, found.st_ino});
      here = std::move(next);
      continue;
    }
    std::string empty = std::move(levels.back().name);
    levels.pop_back();
    if (levels.empty()) {
      here.reset();
      if (::unlinkat(parent, empty.c_str(), AT_REMOVEDIR) == 0) return Status::ok();
      return os_error(errno, "remove " + name);
    }
    UniqueFd above(::openat(here.get(), "..", kFlags));
    if (!above || ::fstat(above.get(), &found) != 0 || found.st_ino != levels.back().inode ||
        found.st_dev != levels.back().device) {
      return Status(StatusCode::internal, fmt::format("remove {}: it was moved meanwhile", name));
    }
    here = std::move(above);
    if (::unlinkat(here.get(), empty.c_str(), AT_REMOVEDIR) != 0 && errno != ENOENT) {
      return os_error(errno, "remove " + empty);
    }
  }
}

}  // namespace sluice::agent
