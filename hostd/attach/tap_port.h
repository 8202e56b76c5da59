#pragma once

#include <net/status.h>

#include <string>

#include "hostd/attach/fd_port.h"

namespace sluice::hostd {

/// A tap as TapPort uses it.
struct TapDevice {
  UniqueFd fd;
  /// A virtio_net_hdr of 12 bytes stands before each frame, and what it may ask of the kernel is
  /// in `offloads`. Else the kernel cuts and sums what the guest sends, and we what it gets.
  bool has_header = false;
  link::Offloads offloads;
};

/// A tap, one frame per read() and write().
class TapPort final : public FdPort {
 public:
  /// Its descriptor is non-blocking.
  TapPort(Loop& loop, TapDevice tap);

 private:
  bool read_frames() override;
  void write_queue() override;

  const std::size_t header_size_;
  BufferRef slab_;
  std::size_t slab_end_ = 0;  ///< Bytes from here on are free.
};

/// Opens the tap `name` in the network namespace `netns`: a name below /run/netns, an absolute path
/// or a pid; empty: our own. Makes it if there is none, sets its MTU and brings it up; it has no
/// address. One that we made goes with the descriptor. With the offloads that the kernel has. Any
/// thread; not affected itself. The error names `--tap`, its value and the fix.
Result<TapDevice> open_tap(const std::string& name, const std::string& netns, std::uint16_t mtu);

/// Whether a descriptor is of /dev/net/tun at all.
bool is_tun(int fd);
/// A tap that somebody else opened, with or without IFF_VNET_HDR; else a sentence that says what to
/// do, and `fd` is closed.
Result<TapDevice> adopt_tap(UniqueFd fd);

}  // namespace sluice::hostd
