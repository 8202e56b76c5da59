#include "agent/init/device.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <poll.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

namespace sluice::agent {

bool wait_for_device(const std::string& device) {
  UniqueFd changes(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  std::string directory = device.substr(0, device.rfind('/') + 1);
  ::inotify_add_watch(changes.get(), directory.c_str(), IN_CREATE);
  TimePoint end = std::chrono::steady_clock::now() + kDevicePatience;
  while (::access(device.c_str(), F_OK) != 0) {
    auto left =
        std::chrono::ceil<std::chrono::milliseconds>(end - std::chrono::steady_clock::now());
    if (left.count() <= 0) return false;
    pollfd watched{.fd = changes.get(), .events = POLLIN, .revents = 0};
    ::poll(&watched, 1, static_cast<int>(left.count()));
    char events[4096];
    while (::read(changes.get(), events, sizeof events) > 0) {
    }
  }
  return true;
}

int Disk::open(const std::string& device) {
  struct stat found{};
  if (::stat(device.c_str(), &found) != 0) return errno;
  if (!S_ISBLK(found.st_mode) && !S_ISREG(found.st_mode)) return ENOTBLK;
  fd_.reset(::open(device.c_str(), O_RDONLY | O_CLOEXEC | (S_ISBLK(found.st_mode) ? O_EXCL : 0)));
  if (!fd_) return errno;
  size_ = static_cast<std::uint64_t>(found.st_size);
  if (S_ISBLK(found.st_mode) && ::ioctl(fd_.get(), BLKGETSIZE64, &size_) != 0) return errno;
  return 0;
}

DiskReader::Got Disk::read(std::uint64_t offset, std::span<std::uint8_t> into) {
  ssize_t got = ::pread(fd_.get(), into.data(), into.size(), static_cast<off_t>(offset));
  if (got < 0) return {.error = errno};
  return {.bytes = static_cast<std::size_t>(got)};
}

}  // namespace sluice::agent
