#include "agent/services/file_jobs.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <vector>

#include "agent/archive/decompress.h"
#include "agent/archive/extract.h"
#include "agent/archive/pack.h"
#include "agent/archive/root.h"
#include "agent/os/clock.h"
#include "agent/os/file.h"
#include "agent/rpc/message.h"
#include "sluice/agent/v1/file.pb.h"

namespace sluice::agent {

namespace {

using rpc::CallError;
using rpc::Code;
using rpc::field;

/// Of a page: so many files, and with their names so many bytes, fit into a message.
constexpr std::size_t kMaxFilesPerPage = 1000;
constexpr std::size_t kMaxBytesPerPage = std::size_t{256} << 10;
constexpr unsigned kPermissions = 07777;
constexpr int kReadFlags = O_RDONLY | O_NONBLOCK | O_NOCTTY;

void fail_errno(JobIo& io, int error, const std::string& step) {
  io.fail(CallError::from_errno(error, step));
}

/// A message's FileInfo, with its texts.
struct Info {
  std::string name;
  std::string link;
  sluice_agent_v1_FileInfo message{};

  /// Into the message, once it has its last place.
  sluice_agent_v1_FileInfo& done() {
    message.name = field(name);
    message.link = field(link);
    return message;
  }
};

Info info_of(const struct stat& file, const std::string& name) {
  Info info;
  info.name = rpc::valid_utf8(name);
  info.message.mode = file.st_mode;
  info.message.size = static_cast<std::uint64_t>(file.st_size);
  info.message.uid = file.st_uid;
  info.message.gid = file.st_gid;
  info.message.mtime_ns = nanoseconds(file.st_mtim);
  info.message.device = file.st_rdev;
  info.message.inode = file.st_ino;
  info.message.links = file.st_nlink;
  return info;
}

/// Of `name` in an open directory; errno where there is none.
std::optional<Info> info_at(int parent, const std::string& name) {
  struct stat file{};
  if (::fstatat(parent, name.c_str(), &file, AT_SYMLINK_NOFOLLOW) != 0) return std::nullopt;
  Info info = info_of(file, name);
  if (S_ISLNK(file.st_mode)) {
    if (auto entry = describe(parent, name)) info.link = rpc::valid_utf8(entry->link);
  }
  return info;
}

std::optional<Root> open_root(const FileAt& at, JobIo& io) {
  auto base = Root::open(at.base);
  if (!base) {
    io.fail(base.status());
    return std::nullopt;
  }
  if (at.root.empty()) return std::move(*base);
  UniqueFd root = base->open_at(at.root, O_PATH | O_DIRECTORY);
  if (!root) {
    fail_errno(io, errno, "open " + at.root);
    return std::nullopt;
  }
  return Root(std::move(root));
}

std::optional<Root::Place> find_place(const FileAt& at, Root::LastLink last, JobIo& io) {
  auto root = open_root(at, io);
  if (!root) return std::nullopt;
  auto place = root->find(at.path, last);
  if (!place) {
    // Whose error is the system's, always.
    fail_errno(io, errno, "open " + at.path);
    return std::nullopt;
  }
  return std::move(*place);
}

Root::LastLink last_link(bool follow) {
  return follow ? Root::LastLink::followed : Root::LastLink::kept;
}

/// A file that is written beside the one that it is to be, and goes away again unless it becomes
/// it.
class FileBeside {
 public:
  explicit FileBeside(const Root::Place& place) : place_(place), name_(".sluice-" + random_id()) {
    file_.reset(::openat(place.parent.get(), name_.c_str(),
                         O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  }
  FileBeside(const FileBeside&) = delete;
  FileBeside& operator=(const FileBeside&) = delete;
  ~FileBeside() {
    if (file_) ::unlinkat(place_.parent.get(), name_.c_str(), 0);
  }

  int fd() const { return file_.get(); }
  /// Takes its place; errno where it can't. `replaces` what is there.
  bool put(bool replaces) {
    int parent = place_.parent.get();
    if (::renameat2(parent, name_.c_str(), parent, place_.name.c_str(),
                    replaces ? 0 : RENAME_NOREPLACE) != 0) {
      return false;
    }
    file_.reset();
    return true;
  }

 private:
  const Root::Place& place_;
  std::string name_;
  UniqueFd file_;
};

/// All that the client sends into a file; false where it was answered with why not.
bool receive(JobIo& io, int fd, const std::string& path, std::uint64_t& bytes) {
  std::vector<std::uint8_t> piece(kPieceBytes);
  FdSink sink(fd);
  for (;;) {
    auto got = io.in().read(piece);
    if (!got) {
      io.fail(got.status());
      return false;
    }
    if (*got == 0) return true;
    if (Status status = sink.write(ConstBytes(piece).first(*got)); !status) {
      io.fail(Status(status.code(), fmt::format("{}: {}", path, status.message())));
      return false;
    }
    bytes += *got;
  }
}

void written(JobIo& io, std::uint64_t bytes) {
  sluice_agent_v1_WriteFileResponse response{};
  response.which_message = sluice_agent_v1_WriteFileResponse_done_tag;
  response.message.done.bytes = bytes;
  io.done(response);
}

void write_at_once(const FileAt& at, const Root::Place& place, const WriteOrder& order, JobIo& io) {
  bool appends = order.way == WriteOrder::Way::append;
  unsigned mode = order.mode == 0 ? 0644 : order.mode & kPermissions;
  int flags = O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
  flags |= appends ? O_APPEND | O_CREAT : O_TRUNC;
  UniqueFd file(::openat(place.parent.get(), place.name.c_str(), flags, mode));
  struct stat found{};
  if (!file || ::fstat(file.get(), &found) != 0) return fail_errno(io, errno, "open " + at.path);
  if (!S_ISREG(found.st_mode)) return fail_errno(io, EINVAL, at.path + " is no file");
  std::uint64_t bytes = 0;
  if (!receive(io, file.get(), at.path, bytes)) return;
  if (appends && ::fsync(file.get()) != 0) return fail_errno(io, errno, "fsync " + at.path);
  written(io, bytes);
}

}  // namespace

void stat_file(const FileAt& at, bool follow, JobIo& io) {
  auto place = find_place(at, last_link(follow), io);
  if (!place) return;
  auto info = info_at(place->parent.get(), place->name);
  if (!info) return fail_errno(io, errno, "stat " + at.path);
  sluice_agent_v1_StatFileResponse response{};
  response.has_info = true;
  response.info = info->done();
  io.done(response);
}

void list_files(const FileAt& at, std::uint64_t after, JobIo& io) {
  auto root = open_root(at, io);
  if (!root) return;
  UniqueFd directory = root->open_at(at.path, O_RDONLY | O_DIRECTORY);
  if (!directory) return fail_errno(io, errno, "open " + at.path);
  if (after != 0 && ::lseek(directory.get(), static_cast<off_t>(after), SEEK_SET) < 0) {
    return fail_errno(io, errno, "list " + at.path);
  }
  std::vector<Info> found;
  std::size_t bytes = 0;
  std::uint64_t next = after;
  bool is_last = false;
  bool is_full = false;
  alignas(dirent64) std::array<char, 32768> buffer;
  while (!is_full && !is_last) {
    long got = ::syscall(SYS_getdents64, directory.get(), buffer.data(), buffer.size());
    if (got < 0) return fail_errno(io, errno, "list " + at.path);
    is_last = got == 0;
    for (long offset = 0; offset < got && !is_full;) {
      const auto* entry = reinterpret_cast<const dirent64*>(buffer.data() + offset);
      offset += entry->d_reclen;
      next = static_cast<std::uint64_t>(entry->d_off);
      std::string name = entry->d_name;
      if (name == "." || name == "..") continue;
      auto info = info_at(directory.get(), name);
      if (!info) continue;  // It went away meanwhile.
      bytes += sizeof(Info) + info->name.size() + info->link.size();
      found.push_back(std::move(*info));
      is_full = found.size() == kMaxFilesPerPage || bytes >= kMaxBytesPerPage;
    }
  }
  std::vector<sluice_agent_v1_FileInfo> infos;
  for (Info& info : found) infos.push_back(info.done());
  io.done(sluice_agent_v1_ListFilesResponse{.files_count = static_cast<pb_size_t>(infos.size()),
                                            .files = infos.data(),
                                            .next = is_last ? 0 : next});
}

void read_from_file(const FileAt& at, std::uint64_t offset, std::uint64_t limit, JobIo& io) {
  auto root = open_root(at, io);
  if (!root) return;
  // What a device or a FIFO does when it is opened nobody knows: first a look at what it is.
  UniqueFd looked = root->open_at(at.path, O_PATH);
  struct stat found{};
  if (!looked || ::fstat(looked.get(), &found) != 0)
    return fail_errno(io, errno, "open " + at.path);
  UniqueFd file;
  if (S_ISREG(found.st_mode)) {
    file = root->open_at(at.path, kReadFlags);
    if (!file || ::fstat(file.get(), &found) != 0) return fail_errno(io, errno, "open " + at.path);
  }
  if (!S_ISREG(found.st_mode)) {
    return fail_errno(io, S_ISDIR(found.st_mode) ? EISDIR : EINVAL, "read " + at.path);
  }
  if (offset > 0 && ::lseek(file.get(), static_cast<off_t>(offset), SEEK_SET) < 0) {
    return fail_errno(io, errno, "seek " + at.path);
  }
  Info info = info_of(found, split_path(at.path).name);
  sluice_agent_v1_ReadFileResponse response{};
  response.which_message = sluice_agent_v1_ReadFileResponse_info_tag;
  response.message.info = info.done();
  if (!io.send(response)) return;
  FdSource content(file.get(), [&io] { return io.stopped(); });
  std::vector<std::uint8_t> piece(kPieceBytes);
  std::uint64_t left = limit == 0 ? UINT64_MAX : limit;
  std::uint64_t bytes = 0;
  while (left > 0) {
    auto got = content.read(Bytes(piece).first(std::min<std::uint64_t>(piece.size(), left)));
    if (!got) return io.fail(got.status());
    if (*got == 0) break;
    if (!io.bytes().write(ConstBytes(piece).first(*got))) return;
    bytes += *got;
    left -= *got;
  }
  response = {};
  response.which_message = sluice_agent_v1_ReadFileResponse_done_tag;
  response.message.done.bytes = bytes;
  io.done(response);
}

void write_to_file(const FileAt& at, const WriteOrder& order, JobIo& io) {
  using Way = WriteOrder::Way;
  auto place = find_place(at, last_link(order.way != Way::create), io);
  if (!place) return;
  if (place->name == ".") return fail_errno(io, EISDIR, "write " + at.path);
  struct stat old{};
  bool exists = ::fstatat(place->parent.get(), place->name.c_str(), &old, AT_SYMLINK_NOFOLLOW) == 0;
  if (exists && order.way == Way::create) return fail_errno(io, EEXIST, "create " + at.path);
  if (exists && !S_ISREG(old.st_mode)) {
    return fail_errno(io, S_ISDIR(old.st_mode) ? EISDIR : EINVAL, "write " + at.path);
  }
  if (order.way == Way::append || order.way == Way::in_place) {
    return write_at_once(at, *place, order, io);
  }
  FileBeside file(*place);
  if (file.fd() < 0) return fail_errno(io, errno, "create " + at.path);
  std::uint64_t bytes = 0;
  if (!receive(io, file.fd(), at.path, bytes)) return;
  unsigned mode = exists ? old.st_mode & kPermissions : 0644;
  if (order.mode != 0) mode = order.mode & kPermissions;
  // Whoever isn't root keeps what is its own.
  if (exists && ::geteuid() == 0 && ::fchown(file.fd(), old.st_uid, old.st_gid) != 0) {
    return fail_errno(io, errno, "chown " + at.path);
  }
  if (::fchmod(file.fd(), mode) != 0) return fail_errno(io, errno, "chmod " + at.path);
  if (::fsync(file.fd()) != 0) return fail_errno(io, errno, "fsync " + at.path);
  if (!file.put(order.way == Way::replace)) return fail_errno(io, errno, "rename " + at.path);
  written(io, bytes);
}

void copy_in(const FileAt& at, const CopyInOrder& order, JobIo& io) {
  auto root = open_root(at, io);
  if (!root) return;
  UniqueFd directory = root->open_at(at.path, O_RDONLY | O_DIRECTORY);
  if (!directory) return fail_errno(io, errno, "open " + at.path);
  int target = directory.get();
  auto unpacked = decompressed(io.in());
  if (!unpacked) return io.fail(unpacked.status());
  Allowance allowance(order.max_bytes, [&io] { return io.stopped(); });
  MeteredSource metered(**unpacked, allowance);
  TarReader archive(metered);
  Root below(std::move(directory));
  Status status = extract(archive, below,
                          {.is_layer = false,
                           .devices = order.devices,
                           .owners = order.keep_owners,
                           .replaces_directories = false,
                           .keeps_directory_links = true});
  if (status) status = drain(metered);
  if (!status) return io.fail(status);
  // Once for all of it.
  if (::syncfs(target) != 0) return fail_errno(io, errno, "syncfs " + at.path);
  sluice_agent_v1_CopyInResponse response{};
  response.which_message = sluice_agent_v1_CopyInResponse_done_tag;
  io.done(response);
}

void copy_out(const FileAt& at, const std::string& name, bool follow, JobIo& io) {
  auto place = find_place(at, last_link(follow), io);
  if (!place) return;
  auto info = info_at(place->parent.get(), place->name);
  if (!info) return fail_errno(io, errno, "open " + at.path);
  std::string as = name.empty() ? split_path(at.path).name : name;
  if (as.empty() || as == "..") as = ".";
  bool is_directory = S_ISDIR(info->message.mode);
  if ((as == "." && !is_directory) || as.find('/') != std::string::npos) {
    return fail_errno(io, EINVAL, fmt::format("'{}' as a name in the archive", as));
  }
  sluice_agent_v1_CopyOutResponse response{};
  response.which_message = sluice_agent_v1_CopyOutResponse_info_tag;
  response.message.info = info->done();
  if (!io.send(response)) return;
  TarWriter archive(io.bytes());
  if (Status status = pack(*place, as, archive); !status) return io.fail(status);
  response = {};
  response.which_message = sluice_agent_v1_CopyOutResponse_done_tag;
  io.done(response);
}

void remove_file(const FileAt& at, bool recursive, bool missing_ok, JobIo& io) {
  auto place = find_place(at, Root::LastLink::kept, io);
  if (!place) return;
  if (place->name == ".") return fail_errno(io, EBUSY, "remove " + at.path);
  int parent = place->parent.get();
  const char* name = place->name.c_str();
  struct stat found{};
  if (::fstatat(parent, name, &found, AT_SYMLINK_NOFOLLOW) != 0) {
    if (errno != ENOENT || !missing_ok) return fail_errno(io, errno, "remove " + at.path);
  } else if (recursive) {
    if (Status status = remove_tree(parent, place->name); !status) return io.fail(status);
  } else if (::unlinkat(parent, name, S_ISDIR(found.st_mode) ? AT_REMOVEDIR : 0) != 0) {
    return fail_errno(io, errno, "remove " + at.path);
  }
  io.done(sluice_agent_v1_RemoveFileResponse{});
}

void make_directory(const FileAt& at, bool parents, unsigned mode, JobIo& io) {
  auto root = open_root(at, io);
  if (!root) return;
  mode = mode == 0 ? 0755 : mode & kPermissions;
  if (parents) {
    auto above = root->make_directories(split_path(at.path).above, 0755);
    if (!above) return io.fail(above.status());
  }
  auto place = root->find(at.path, Root::LastLink::kept);
  if (!place) return io.fail(place.status());
  if (::mkdirat(place->parent.get(), place->name.c_str(), mode) != 0) {
    int error = errno;
    bool is_there = error == EEXIST && parents && root->open_at(at.path, O_PATH | O_DIRECTORY);
    if (!is_there) return fail_errno(io, error, "mkdir " + at.path);
  } else if (::fchmodat(place->parent.get(), place->name.c_str(), mode, AT_SYMLINK_NOFOLLOW) != 0) {
    return fail_errno(io, errno, "chmod " + at.path);
  }
  io.done(sluice_agent_v1_MakeDirectoryResponse{});
}

}  // namespace sluice::agent
