#include "agent/archive/extract.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <vector>

#include "agent/archive/xattr.h"

namespace sluice::agent {

namespace {

constexpr std::string_view kWhiteout = ".wh.";
constexpr std::string_view kOpaque = ".wh..wh..opq";
/// What the union file system of the format's first days kept for itself.
constexpr std::string_view kForeign = ".wh..wh.";
constexpr const char* kOverlayOpaque = "trusted.overlay.opaque";
constexpr unsigned kUsualDirectoryMode = 0755;

Status bad(const TarEntry& entry, std::string_view why) {
  return Status(StatusCode::invalid_argument, fmt::format("tar: {}: {}", entry.path, why));
}

bool is_whiteout(const struct stat& file) {
  return S_ISCHR(file.st_mode) && file.st_rdev == 0;
}

class Extractor {
 public:
  Extractor(TarReader& archive, const Root& root, const ExtractOptions& options)
      : archive_(archive), root_(root), options_(options), is_root_(::geteuid() == 0) {}

  Status run() {
    for (;;) {
      auto entry = archive_.next();
      if (!entry) return entry.status();
      if (!*entry) break;
      if (Status status = take(**entry); !status) return status;
    }
    leave();
    return Status::ok();
  }

 private:
  /// The directory that entries go to, kept open as the next one mostly goes there too. Its time
  /// is what it was before, once we leave.
  Status enter(const std::string& path) {
    if (here_ && path == here_path_) return Status::ok();
    leave();
    auto directory = root_.make_directories(path, kUsualDirectoryMode);
    if (!directory) return directory.status();
    here_ = std::move(*directory);
    here_path_ = path;
    ::fstat(here_.get(), &here_before_);
    return Status::ok();
  }

  void leave() {
    if (here_ && !here_path_.empty()) {
      timespec times[2]{{.tv_sec = 0, .tv_nsec = UTIME_OMIT}, here_before_.st_mtim};
      ::futimens(here_.get(), times);
    }
    here_.reset();
  }

  Status take(const TarEntry& entry) {
    SplitPath path = split_path(entry.path);
    if (!is_wanted(path)) return bad(entry, "nobody asked for it");
    if (entry.type == TarEntry::Type::hard_link && !is_wanted(split_path(entry.link))) {
      return bad(entry, "it is a link to what nobody asked for");
    }
    if (path.name.empty()) {
      // "./": the root's own attributes, which an image's are and a directory's of the caller's
      // are not.
      if (entry.type != TarEntry::Type::directory) return bad(entry, "it is the root");
      if (!options_.is_layer) return Status::ok();
      if (Status status = enter(""); !status) return status;
      return set_attributes(here_.get(), entry);
    }
    if (path.name == "..") return bad(entry, "it ends in '..'");
    if (Status status = enter(path.above); !status) return status;
    if (options_.is_layer && path.name.starts_with(kWhiteout)) {
      return white_out(entry, std::string_view(path.name).substr(kWhiteout.size()), path.name);
    }
    return make(entry, path.name);
  }

  bool is_wanted(const SplitPath& path) const {
    if (options_.only.empty()) return true;
    std::string_view top = path.above.empty() ? path.name : path.above;
    return top.substr(0, top.find('/')) == options_.only;
  }

  Status white_out(const TarEntry& entry, std::string_view hidden, std::string_view name) {
    if (name == kOpaque) return make_opaque(here_.get(), entry.path);
    if (name.starts_with(kForeign)) return Status::ok();
    std::string target(hidden);
    if (target.empty() || target == "." || target == "..") return bad(entry, "it hides nothing");
    struct stat there{};
    if (::fstatat(here_.get(), target.c_str(), &there, AT_SYMLINK_NOFOLLOW) == 0) {
      // The same layer has it anew; what is below it stays hidden all the same.
      if (!S_ISDIR(there.st_mode)) return Status::ok();
      UniqueFd directory(
          ::openat(here_.get(), target.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
      if (!directory) return os_error(errno, "open " + entry.path);
      return make_opaque(directory.get(), entry.path);
    }
    if (::mknodat(here_.get(), target.c_str(), S_IFCHR, 0) != 0) {
      return os_error(errno, "whiteout " + entry.path);
    }
    return Status::ok();
  }

  static Status make_opaque(int directory, const std::string& path) {
    if (::fsetxattr(directory, kOverlayOpaque, "y", 1, 0) == 0) return Status::ok();
    return os_error(errno, fmt::format("setxattr {} {}", kOverlayOpaque, path));
  }

  /// Makes room for the entry. `hides`: what was there was a whiteout.
  Status clear(const TarEntry& entry, const std::string& name, bool& kept, bool& hides) {
    struct stat there{};
    if (::fstatat(here_.get(), name.c_str(), &there, AT_SYMLINK_NOFOLLOW) != 0) {
      return errno == ENOENT ? Status::ok() : os_error(errno, "stat " + entry.path);
    }
    bool wants_directory = entry.type == TarEntry::Type::directory;
    if (wants_directory && S_ISDIR(there.st_mode)) {
      kept = true;
      return Status::ok();
    }
    if (wants_directory && S_ISLNK(there.st_mode) && options_.keeps_directory_links) {
      struct stat target{};
      UniqueFd led_to = root_.open_at(here_path_ + "/" + name, O_PATH | O_DIRECTORY);
      if (led_to && ::fstat(led_to.get(), &target) == 0) {
        kept = true;
        return Status::ok();
      }
    }
    if (S_ISDIR(there.st_mode) && !options_.replaces_directories) {
      return bad(entry, "a directory is in its place");
    }
    hides = options_.is_layer && is_whiteout(there);
    if (S_ISDIR(there.st_mode)) return remove_tree(here_.get(), name);
    if (::unlinkat(here_.get(), name.c_str(), 0) != 0) {
      return os_error(errno, "remove " + entry.path);
    }
    return Status::ok();
  }

  Status make(const TarEntry& entry, const std::string& name) {
    bool kept = false;
    bool hides = false;
    if (Status status = clear(entry, name, kept, hides); !status) return status;
    switch (entry.type) {
      case TarEntry::Type::file:
        return make_file(entry, name);
      case TarEntry::Type::hard_link:
        return make_hard_link(entry, name);
      case TarEntry::Type::symlink:
        if (entry.link.empty()) return bad(entry, "it leads nowhere");
        if (::symlinkat(entry.link.c_str(), here_.get(), name.c_str()) != 0) {
          return os_error(errno, "symlink " + entry.path);
        }
        return set_attributes_at(name, entry);
      case TarEntry::Type::directory:
        return make_directory(entry, name, kept, hides);
      case TarEntry::Type::character_device:
      case TarEntry::Type::block_device:
      case TarEntry::Type::fifo:
        return make_node(entry, name);
    }
    return Status::ok();
  }

  Status make_file(const TarEntry& entry, const std::string& name) {
    UniqueFd file(::openat(here_.get(), name.c_str(),
                           O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!file) return os_error(errno, "create " + entry.path);
    FdSink sink(file.get());
    Status status;
    while (status) {
      auto got = archive_.read(piece_);
      if (!got) {
        status = got.status();
      } else if (*got == 0) {
        break;
      } else {
        status = sink.write(ConstBytes(piece_).first(*got));
      }
    }
    if (status) status = set_attributes(file.get(), entry);
    // Half a file is worse than none.
    if (!status) ::unlinkat(here_.get(), name.c_str(), 0);
    return status;
  }

  Status make_hard_link(const TarEntry& entry, const std::string& name) {
    auto target = root_.find(entry.link, Root::LastLink::kept);
    if (!target) {
      return Status(target.status().code(),
                    fmt::format("link {}: {}", entry.path, target.status().message()));
    }
    if (::linkat(target->parent.get(), target->name.c_str(), here_.get(), name.c_str(), 0) != 0) {
      return os_error(errno, fmt::format("link {} to {}", entry.path, entry.link));
    }
    return Status::ok();
  }

  Status make_directory(const TarEntry& entry, const std::string& name, bool kept, bool hides) {
    if (!kept && ::mkdirat(here_.get(), name.c_str(), 0700) != 0) {
      return os_error(errno, "mkdir " + entry.path);
    }
    UniqueFd directory(
        ::openat(here_.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    // A link that is kept: what it leads to keeps its attributes as well.
    if (!directory && kept) return Status::ok();
    if (!directory) return os_error(errno, "open " + entry.path);
    if (hides) {
      if (Status status = make_opaque(directory.get(), entry.path); !status) return status;
    }
    return set_attributes(directory.get(), entry);
  }

  Status make_node(const TarEntry& entry, const std::string& name) {
    bool is_device = entry.type != TarEntry::Type::fifo;
    if (is_device && !options_.devices) return bad(entry, "devices are not made here");
    mode_t type = S_IFIFO;
    if (entry.type == TarEntry::Type::character_device) type = S_IFCHR;
    if (entry.type == TarEntry::Type::block_device) type = S_IFBLK;
    dev_t device = is_device ? makedev(entry.major, entry.minor) : 0;
    if (::mknodat(here_.get(), name.c_str(), type | (entry.mode & 0777), device) != 0) {
      return os_error(errno, "mknod " + entry.path);
    }
    return set_attributes_at(name, entry);
  }

  static void times_of(const TarEntry& entry, timespec (&times)[2]) {
    times[0] = {.tv_sec = 0, .tv_nsec = UTIME_OMIT};
    times[1] = {.tv_sec = entry.mtime, .tv_nsec = entry.mtime_nsec};
  }

  uid_t owner_of(const TarEntry& entry) const { return options_.owners ? entry.uid : 0; }
  gid_t group_of(const TarEntry& entry) const { return options_.owners ? entry.gid : 0; }

  /// In this order: a new owner takes set-user-id bits and capabilities away.
  Status set_attributes(int fd, const TarEntry& entry) const {
    if (is_root_ && ::fchown(fd, owner_of(entry), group_of(entry)) != 0) {
      return os_error(errno, "chown " + entry.path);
    }
    if (::fchmod(fd, entry.mode) != 0) return os_error(errno, "chmod " + entry.path);
    for (const auto& [name, value] : entry.xattrs) {
      if (!is_carried_xattr(name)) continue;
      // A file system that has none can still hold the file.
      if (::fsetxattr(fd, name.c_str(), value.data(), value.size(), 0) != 0 &&
          errno != EOPNOTSUPP) {
        return os_error(errno, fmt::format("setxattr {} {}", name, entry.path));
      }
    }
    timespec times[2];
    times_of(entry, times);
    if (::futimens(fd, times) != 0) return os_error(errno, "utime " + entry.path);
    return Status::ok();
  }

  /// Of what can't be opened without doing something.
  Status set_attributes_at(const std::string& name, const TarEntry& entry) const {
    if (is_root_ && ::fchownat(here_.get(), name.c_str(), owner_of(entry), group_of(entry),
                               AT_SYMLINK_NOFOLLOW) != 0) {
      return os_error(errno, "chown " + entry.path);
    }
    if (entry.type != TarEntry::Type::symlink &&
        ::fchmodat(here_.get(), name.c_str(), entry.mode, AT_SYMLINK_NOFOLLOW) != 0) {
      return os_error(errno, "chmod " + entry.path);
    }
    timespec times[2];
    times_of(entry, times);
    if (::utimensat(here_.get(), name.c_str(), times, AT_SYMLINK_NOFOLLOW) != 0) {
      return os_error(errno, "utime " + entry.path);
    }
    return Status::ok();
  }

  TarReader& archive_;
  const Root& root_;
  const ExtractOptions& options_;
  bool is_root_;
  UniqueFd here_;
  std::string here_path_;
  struct stat here_before_{};
  std::vector<std::uint8_t> piece_ = std::vector<std::uint8_t>(kPieceBytes);
};

}  // namespace

Status extract(TarReader& archive, const Root& root, const ExtractOptions& options) {
  return Extractor(archive, root, options).run();
}

}  // namespace sluice::agent
