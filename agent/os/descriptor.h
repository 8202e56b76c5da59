#pragma once

#include <fcntl.h>

namespace sluice::agent {

/// Nothing happens to what is no descriptor.
inline void make_non_blocking(int fd) {
  if (fd >= 0) ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK);
}

}  // namespace sluice::agent
