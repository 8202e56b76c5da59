#pragma once

#include "hostd/attach/fd_port.h"

namespace sluice::hostd {

/// A Unix stream socket with QEMU's framing: a 32-bit big-endian length, then the frame (QEMU's
/// `-netdev stream`, libkrun's unixstream, passt's clients). Theory of operation:
///
/// Towards the gateway, large reads go into slabs of memory, and the frames in them are handed on
/// where they lie. A slab is used again once nobody refers to it.
///
/// Towards the guest, frames are queued as pieces and leave with as few sendmsg() calls as
/// possible. A partial write is continued before anything else.
///
/// The peer is never sent a frame over link::kMaxFrame, a half-close, or a length without its
/// frame: libkrun's net thread panics or spins on these.
class StreamPort final : public FdPort {
 public:
  explicit StreamPort(Loop& loop) : FdPort(loop, FrameQueue::Prefix::length) {}

  /// Begins with a connected, non-blocking socket; an earlier one is dropped.
  void open(UniqueFd socket);
  /// Whether the peer has closed its end, though what it sent before may still be unread.
  bool peer_is_gone() const;

 private:
  bool read_frames() override;
  void write_queue() override;
  void use_slab(std::size_t at_least);

  BufferRef slab_;
  std::size_t slab_begin_ = 0;  ///< Bytes before it were handed on.
  std::size_t slab_end_ = 0;    ///< Bytes from here on are free.
};

}  // namespace sluice::hostd
