#include "agent/os/random_seed.h"

#include <fcntl.h>
#include <linux/random.h>
#include <sys/ioctl.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "base/unique_fd.h"

namespace sluice::agent {

Status seed_random(ConstBytes seed) {
  UniqueFd device(::open("/dev/urandom", O_RDONLY | O_CLOEXEC));
  if (!device) return Status::from_errno(errno, "open /dev/urandom");
  /// As rand_pool_info, whose own array has no size.
  struct Pool {
    int entropy_bits;
    int bytes;
    std::array<std::uint8_t, kMostSeed> content;
  } pool;
  pool.entropy_bits = static_cast<int>(seed.size() * 8);
  pool.bytes = static_cast<int>(seed.size());
  std::memcpy(pool.content.data(), seed.data(), seed.size());
  int done = ::ioctl(device.get(), RNDADDENTROPY, &pool);
  int error = errno;
  ::explicit_bzero(&pool, sizeof pool);
  if (done != 0) return Status::from_errno(error, "RNDADDENTROPY");
  // Kernels before 4.14 have no such call, and take it up by themselves within minutes.
  if (::ioctl(device.get(), RNDRESEEDCRNG) != 0 && errno != EINVAL) {
    return Status::from_errno(errno, "RNDRESEEDCRNG");
  }
  return Status::ok();
}

}  // namespace sluice::agent
