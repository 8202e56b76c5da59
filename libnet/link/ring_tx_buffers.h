#pragma once

#include <memory>

#include "base/buffer.h"
#include "link/frame_pool.h"

namespace sluice::link {

struct RingShared;
class RingPort;

/// The counted references to the guest's frames, one for each buffer of the tx pool. On the loop's
/// thread. Outlives its port for as long as a frame is referred to.
class RingTxBuffers {
 public:
  RingTxBuffers(std::shared_ptr<RingShared> shared, RingPort& port);

  BufferRef hold(FramePool::Index index);
  std::size_t held() const { return held_; }
  /// The port goes away: from now on this is its own owner, until nothing is held.
  static void let_go(std::unique_ptr<RingTxBuffers> buffers);

 private:
  struct Entry : Buffer {
    Entry() : Buffer(&RingTxBuffers::dispose) {}
    RingTxBuffers* owner = nullptr;
  };
  static void dispose(Buffer* buffer);

  std::shared_ptr<RingShared> shared_;
  RingPort* port_;  ///< nullptr once it has gone.
  std::unique_ptr<Entry[]> entries_;
  std::size_t held_ = 0;
  std::unique_ptr<RingTxBuffers> self_;
};

}  // namespace sluice::link
