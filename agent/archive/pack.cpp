#include "agent/archive/pack.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/magic.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <memory>
#include <vector>

#include "agent/archive/xattr.h"

namespace sluice::agent {

namespace {

constexpr std::size_t kMaxLinkedFiles = std::size_t{64} << 10;
constexpr int kMaxDepth = 256;
constexpr std::size_t kMaxXattrNames = std::size_t{64} << 10;
constexpr std::size_t kMaxXattrValue = std::size_t{64} << 10;

std::map<std::string, std::string> xattrs_of(int fd) {
  std::map<std::string, std::string> found;
  std::vector<char> names(kMaxXattrNames);
  ssize_t size = ::flistxattr(fd, names.data(), names.size());
  if (size <= 0) return found;
  std::string value(kMaxXattrValue, '\0');
  for (const char* name = names.data(); name < names.data() + size;
       name += std::string_view(name).size() + 1) {
    if (!is_carried_xattr(name)) continue;
    ssize_t bytes = ::fgetxattr(fd, name, value.data(), value.size());
    if (bytes >= 0) found[name] = value.substr(0, static_cast<std::size_t>(bytes));
  }
  return found;
}

/// What the kernel makes up as it is read: without end, or with side effects.
bool is_made_up(int directory) {
  struct statfs system{};
  if (::fstatfs(directory, &system) != 0) return false;
  switch (static_cast<unsigned long>(system.f_type)) {
    case PROC_SUPER_MAGIC:
    case SYSFS_MAGIC:
    case CGROUP_SUPER_MAGIC:
    case CGROUP2_SUPER_MAGIC:
    case DEBUGFS_MAGIC:
    case TRACEFS_MAGIC:
    case SECURITYFS_MAGIC:
    case BPF_FS_MAGIC:
    case DEVPTS_SUPER_MAGIC:
      return true;
    default:
      return false;
  }
}

class Packer {
 public:
  explicit Packer(TarWriter& archive) : archive_(archive) {}

  Status add(int parent, const std::string& name, const std::string& as, int depth) {
    auto entry = describe(parent, name);
    if (!entry) return entry.status();
    entry->path = as;
    struct stat file{};
    if (::fstatat(parent, name.c_str(), &file, AT_SYMLINK_NOFOLLOW) != 0) {
      return os_error(errno, "stat " + as);
    }
    if (S_ISSOCK(file.st_mode)) return Status::ok();
    if (S_ISDIR(file.st_mode)) return add_directory(parent, name, std::move(*entry), depth);
    if (file.st_nlink > 1 && become_link(file, *entry)) return archive_.add(*entry);
    if (S_ISREG(file.st_mode)) return add_file(parent, name, std::move(*entry));
    return archive_.add(*entry);
  }

 private:
  /// Whether the archive has it already, by another name.
  bool become_link(const struct stat& file, TarEntry& entry) {
    auto key = std::make_pair(file.st_dev, file.st_ino);
    if (auto found = linked_.find(key); found != linked_.end()) {
      entry.type = TarEntry::Type::hard_link;
      entry.link = found->second;
      entry.size = 0;
      return true;
    }
    if (linked_.size() < kMaxLinkedFiles) linked_[key] = entry.path;
    return false;
  }

  Status add_file(int parent, const std::string& name, TarEntry entry) {
    UniqueFd file(
        ::openat(parent, name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
    struct stat now{};
    if (!file || ::fstat(file.get(), &now) != 0) return os_error(errno, "open " + entry.path);
    if (!S_ISREG(now.st_mode)) {
      return Status(StatusCode::internal, fmt::format("{} was replaced meanwhile", entry.path));
    }
    entry.size = static_cast<std::uint64_t>(now.st_size);
    entry.xattrs = xattrs_of(file.get());
    if (Status status = archive_.add(entry); !status) return status;
    FileRangeSource content(file.get(), 0, entry.size);
    for (;;) {
      auto got = content.read(piece_);
      if (!got) {
        return Status(got.status().code(),
                      fmt::format("{}: {}", entry.path, got.status().message()));
      }
      if (*got == 0) return Status::ok();
      if (Status status = archive_.write(ConstBytes(piece_).first(*got)); !status) return status;
    }
  }

  Status add_directory(int parent, const std::string& name, TarEntry entry, int depth) {
    std::string path = entry.path;
    if (depth == kMaxDepth) {
      return Status(StatusCode::invalid_argument,
                    fmt::format("{} is deeper than {} directories", path, kMaxDepth));
    }
    UniqueFd directory(
        ::openat(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!directory) return os_error(errno, "open " + path);
    entry.path += "/";
    entry.xattrs = xattrs_of(directory.get());
    if (Status status = archive_.add(entry); !status) return status;
    if (depth > 0 && is_made_up(directory.get())) return Status::ok();

    std::unique_ptr<DIR, int (*)(DIR*)> entries(::fdopendir(::dup(directory.get())), ::closedir);
    if (!entries) return os_error(errno, "read " + path);
    while (dirent* one = ::readdir(entries.get())) {
      std::string_view child = one->d_name;
      if (child == "." || child == "..") continue;
      Status status =
          add(directory.get(), std::string(child), fmt::format("{}/{}", path, child), depth + 1);
      // What went away meanwhile is not there.
      if (!status && status.code() != StatusCode::not_found) return status;
    }
    return Status::ok();
  }

  TarWriter& archive_;
  std::map<std::pair<dev_t, ino_t>, std::string> linked_;
  std::vector<std::uint8_t> piece_ = std::vector<std::uint8_t>(kPieceBytes);
};

}  // namespace

Result<TarEntry> describe(int parent, const std::string& name) {
  struct stat file{};
  if (::fstatat(parent, name.c_str(), &file, AT_SYMLINK_NOFOLLOW) != 0) {
    return os_error(errno, "stat " + name);
  }
  TarEntry entry;
  entry.path = name;
  entry.mode = file.st_mode & tar::kModeBits;
  entry.uid = file.st_uid;
  entry.gid = file.st_gid;
  entry.mtime = file.st_mtim.tv_sec;
  entry.mtime_nsec = static_cast<std::uint32_t>(file.st_mtim.tv_nsec);
  switch (file.st_mode & S_IFMT) {
    case S_IFDIR:
      entry.type = TarEntry::Type::directory;
      break;
    case S_IFLNK: {
      entry.type = TarEntry::Type::symlink;
      std::string target(static_cast<std::size_t>(std::max<off_t>(file.st_size, 4096)), '\0');
      ssize_t size = ::readlinkat(parent, name.c_str(), target.data(), target.size());
      if (size < 0) return os_error(errno, "readlink " + name);
      target.resize(static_cast<std::size_t>(size));
      entry.link = std::move(target);
      break;
    }
    case S_IFCHR:
    case S_IFBLK:
      entry.type =
          S_ISCHR(file.st_mode) ? TarEntry::Type::character_device : TarEntry::Type::block_device;
      entry.major = major(file.st_rdev);
      entry.minor = minor(file.st_rdev);
      break;
    case S_IFIFO:
      entry.type = TarEntry::Type::fifo;
      break;
    default:
      entry.size = static_cast<std::uint64_t>(file.st_size);
      break;
  }
  return entry;
}

Status pack(const Root::Place& place, const std::string& as, TarWriter& archive) {
  Packer packer(archive);
  if (Status status = packer.add(place.parent.get(), place.name, as, 0); !status) return status;
  return archive.finish();
}

}  // namespace sluice::agent
