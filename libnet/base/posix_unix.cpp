#include "base/posix_unix.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace sluice {

Result<sockaddr_un> unix_address(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) {
    return Status(StatusCode::invalid_argument,
                  "a Unix socket's path has 1 to " + std::to_string(sizeof address.sun_path - 1) +
                      " bytes; '" + path + "' has " + std::to_string(path.size()));
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

UnixSocketFile::UnixSocketFile(std::string path) {
  struct stat info{};
  if (::lstat(path.c_str(), &info) != 0) return;
  path_ = std::move(path);
  device_ = info.st_dev;
  inode_ = info.st_ino;
}

UnixSocketFile& UnixSocketFile::operator=(UnixSocketFile&& other) noexcept {
  if (this != &other) {
    remove();
    path_ = std::exchange(other.path_, {});
    device_ = other.device_;
    inode_ = other.inode_;
  }
  return *this;
}

void UnixSocketFile::remove() {
  if (path_.empty()) return;
  struct stat info{};
  if (::lstat(path_.c_str(), &info) == 0 && info.st_dev == device_ && info.st_ino == inode_) {
    ::unlink(path_.c_str());
  }
  path_.clear();
}

bool is_left_behind(const std::string& path) {
  auto address = unix_address(path);
  struct stat info{};
  if (!address || ::lstat(path.c_str(), &info) != 0 || !S_ISSOCK(info.st_mode)) return false;
  UniqueFd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!probe) return false;
  int result =
      ::connect(probe.get(), reinterpret_cast<const sockaddr*>(&*address), sizeof *address);
  // Only "nobody is bound" is refused; a full backlog (EAGAIN) or another type (EPROTOTYPE) is an
  // owner that lives.
  return result != 0 && errno == ECONNREFUSED;
}

Result<UnixSocketFile> bind_unix(int fd, const std::string& path) {
  auto address = unix_address(path);
  if (!address) return address.status();
  auto bind = [&] {
    return ::bind(fd, reinterpret_cast<const sockaddr*>(&*address), sizeof *address) == 0;
  };
  bool bound = bind();
  if (!bound && errno == EADDRINUSE) {
    if (!is_left_behind(path)) {
      return Status(
          StatusCode::already_exists,
          "listen on " + path + ": something else is there; remove it or use another path");
    }
    ::unlink(path.c_str());
    bound = bind();
  }
  if (!bound) return Status::from_errno(errno, "listen on " + path);
  return UnixSocketFile(path);
}

}  // namespace sluice
