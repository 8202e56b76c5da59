#include "link/wake.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>

namespace sluice::link {

Result<Doorbell> Doorbell::create(WakeKind kind) {
  Doorbell bell;
  if (kind == WakeKind::eventfd) {
    bell.read_.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (bell.read_) return bell;
    if (errno != ENOSYS) return Status::from_errno(errno, "make an eventfd");
  }
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return Status::from_errno(errno, "make a pipe");
  bell.read_.reset(ends[0]);
  bell.write_.reset(ends[1]);
  return bell;
}

void Doorbell::ring() {
  // EAGAIN means that the waiter has many rings to answer already.
  const std::uint64_t one = 1;
  int fd = write_ ? write_.get() : read_.get();
  std::size_t size = write_ ? 1 : sizeof one;
  while (::write(fd, &one, size) < 0 && errno == EINTR) {
  }
}

void Doorbell::clear() {
  std::array<std::uint64_t, 8> rings;
  // One read empties an eventfd; of a pipe, a full buffer may leave more.
  while (::read(read_.get(), rings.data(), sizeof rings) == sizeof rings) {
  }
}

}  // namespace sluice::link
