#include "hostd/attach/tap_port.h"

#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "hostd/attach/slab.h"

namespace sluice::hostd {

namespace {

/// Frames handed on at once.
constexpr std::size_t kBatch = 64;
/// Where the next frame begins: the IP header after 14 bytes of Ethernet is then aligned.
constexpr std::size_t kAlign = 16, kOffset = 2;

}  // namespace

TapPort::TapPort(Loop& loop, UniqueFd tap) : FdPort(loop, FrameQueue::Prefix::none) {
  begin(std::move(tap));
  link_up();
}

bool TapPort::read_frames() {
  constexpr std::size_t kLeastRoom = kOffset + link::kMaxFrame;
  if (Slab::is_free(slab_)) {
    slab_end_ = 0;
  } else if (!slab_ || kSlabBytes - slab_end_ < kLeastRoom) {
    slab_ = Slab::make(kSlabBytes);
    slab_end_ = 0;
  }
  std::uint8_t* memory = Slab::memory(slab_);
  bool more = true;
  const char* gone = nullptr;
  while (frames_.size() < kBatch && kSlabBytes - slab_end_ >= kLeastRoom) {
    std::uint8_t* start = memory + slab_end_ + kOffset;
    ssize_t n = ::read(fd_.get(), start, link::kMaxFrame);
    if (n < 0) {
      if (errno == EINTR) continue;
      // EIO and the like are of an interface that is down for now.
      if (errno == EBADFD) gone = "the tap was removed";
      more = false;
      break;
    }
    auto size = static_cast<std::size_t>(n);
    frames_.push_back({{start, size}, slab_, false});
    slab_end_ = (slab_end_ + kOffset + size + kAlign - 1) / kAlign * kAlign;
  }
  deliver();
  if (gone) close(gone);
  return more;
}

void TapPort::write_queue() {
  iovec vector[kMaxIovecs];
  while (!queue_.empty()) {
    std::size_t count = queue_.gather(0, vector);
    if (::writev(fd_.get(), vector, static_cast<int>(count)) < 0) {
      switch (errno) {
        case EINTR:
          continue;
        case EAGAIN:
          return block(Until::writable);
        case ENOBUFS:
        case ENOMEM:
          return block(Until::moment);
        case EBADFD:
          return close("the tap was removed");
        default:  // EIO: the interface is down; the frame is as lost as on a cable.
          ++counters_.rx_lost;
      }
    }
    queue_.pop(1);
  }
}

}  // namespace sluice::hostd
