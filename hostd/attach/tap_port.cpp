#include "hostd/attach/tap_port.h"

#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "link/slab.h"
#include "link/virtio_frame.h"

namespace sluice::hostd {

namespace {

/// Frames handed on at once.
constexpr std::size_t kBatch = 64;
/// Where the next frame, or the header of 12 bytes before it, begins: IP is then aligned to 4.
constexpr std::size_t kAlign = 16, kOffset = 2;

}  // namespace

TapPort::TapPort(Loop& loop, TapDevice tap)
    : FdPort(loop, tap.has_header ? FrameQueue::Prefix::virtio : FrameQueue::Prefix::none,
             tap.offloads),
      header_size_(tap.has_header ? link::VirtioNetHeader::kSize : 0) {
  begin(std::move(tap.fd));
  link_up();
}

bool TapPort::read_frames() {
  constexpr std::size_t kLeastRoom = kOffset + link::VirtioNetHeader::kSize + link::kMaxFrame;
  link::Slab::make_room(slab_, slab_end_, kLeastRoom);
  std::uint8_t* memory = link::Slab::memory(slab_);
  bool more = true;
  const char* gone = nullptr;
  while (frames_.size() < kBatch && link::kSlabBytes - slab_end_ >= kLeastRoom) {
    std::uint8_t* start = memory + slab_end_ + kOffset;
    ssize_t n = ::read(fd_.get(), start, header_size_ + link::kMaxFrame);
    if (n < 0) {
      if (errno == EINTR) continue;
      // EIO and the like are of an interface that is down for now.
      if (errno == EBADFD) gone = "the tap was removed";
      more = false;
      break;
    }
    auto size = static_cast<std::size_t>(n);
    slab_end_ = (slab_end_ + kOffset + size + kAlign - 1) / kAlign * kAlign;
    if (size < header_size_) {
      ++counters_.tx_malformed;
      continue;
    }
    Bytes frame(start + header_size_, size - header_size_);
    if (header_size_ == 0) {
      frames_.push_back({frame, slab_, false});
    } else if (!link::add_virtio_frame({start, header_size_}, frame, slab_, frames_)) {
      ++counters_.tx_malformed;
    }
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
