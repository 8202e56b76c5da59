#include "hostd/attach/unix_socket.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>

namespace sluice::hostd {

namespace {

Result<sockaddr_un> address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    return Status(StatusCode::invalid_argument, fmt::format("socket path {}: longer than {} bytes",
                                                            path, sizeof address.sun_path - 1));
  }
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  return address;
}

Result<UniqueFd> make_socket(int type) {
  UniqueFd fd(::socket(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return Status::from_errno(errno, "make a Unix socket");
  return fd;
}

/// Removes a socket on which nobody answers.
Status clear_way(const std::string& path, const sockaddr_un& address, int type) {
  struct stat info;
  if (::lstat(path.c_str(), &info) != 0) return Status::ok();
  if (!S_ISSOCK(info.st_mode)) {
    return Status(
        StatusCode::already_exists,
        fmt::format("{} is there and is no socket: remove it, or choose another path", path));
  }
  auto probe = make_socket(type);
  if (!probe) return probe.status();
  const auto* raw = reinterpret_cast<const sockaddr*>(&address);
  // EPERM is of a datagram socket that is connected to somebody else.
  if (::connect(probe->get(), raw, sizeof address) == 0 || errno == EAGAIN || errno == EPERM) {
    return Status(StatusCode::already_exists,
                  fmt::format("another process serves {}: stop it, or choose another path", path));
  }
  if (errno == ECONNREFUSED && ::unlink(path.c_str()) != 0) {
    return Status::from_errno(errno, fmt::format("remove the stale socket {}", path));
  }
  return Status::ok();
}

Result<UniqueFd> bind_at(const std::string& path, int type) {
  auto address = address_of(path);
  if (!address) return address.status();
  if (Status status = clear_way(path, *address, type); !status) return status;
  auto fd = make_socket(type);
  if (!fd) return fd.status();
  const auto* raw = reinterpret_cast<const sockaddr*>(&*address);
  mode_t before = ::umask(0177);
  int result = ::bind(fd->get(), raw, sizeof *address);
  int error = errno;
  ::umask(before);
  if (result != 0) return Status::from_errno(error, fmt::format("bind {}", path));
  return fd;
}

}  // namespace

Result<UniqueFd> listen_unix_stream(const std::string& path) {
  auto fd = bind_at(path, SOCK_STREAM);
  if (!fd) return fd.status();
  // One guest at a time; another that waits is told so when it is accepted.
  if (::listen(fd->get(), 8) != 0)
    return Status::from_errno(errno, fmt::format("listen on {}", path));
  return fd;
}

Result<UniqueFd> bind_unix_datagram(const std::string& path) {
  return bind_at(path, SOCK_DGRAM);
}

Result<UniqueFd> connect_unix_stream(const std::string& path) {
  auto address = address_of(path);
  if (!address) return address.status();
  auto fd = make_socket(SOCK_STREAM);
  if (!fd) return fd.status();
  const auto* raw = reinterpret_cast<const sockaddr*>(&*address);
  if (::connect(fd->get(), raw, sizeof *address) != 0) {
    return Status::from_errno(errno, fmt::format("connect to {}", path));
  }
  return fd;
}

}  // namespace sluice::hostd
