#pragma once

#include <net/status.h>

#include <string>

#include "hostd/attach/fd_port.h"

namespace sluice::hostd {

/// A tap, one frame per read() and write(). Nothing in front of the frames: the kernel computes
/// the guest's checksums.
class TapPort final : public FdPort {
 public:
  /// A non-blocking descriptor of a tap, as open_tap() gives it.
  TapPort(Loop& loop, UniqueFd tap);

 private:
  bool read_frames() override;
  void write_queue() override;

  BufferRef slab_;
  std::size_t slab_end_ = 0;  ///< Bytes from here on are free.
};

/// Opens the tap `name` in the network namespace `netns`: a name below /run/netns, an absolute path
/// or a pid; empty: our own. Makes it if there is none, sets its MTU and brings it up; it has no
/// address. One that we made goes with the descriptor. Any thread; not affected itself. The error
/// names `--tap`, its value and the fix.
Result<UniqueFd> open_tap(const std::string& name, const std::string& netns, std::uint16_t mtu);

/// Whether a descriptor is of /dev/net/tun at all.
bool is_tun(int fd);
/// ok if it is a tap that a TapPort can use; else a sentence that says what to do.
Status check_tap(int fd);

}  // namespace sluice::hostd
