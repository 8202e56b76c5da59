#include "link/ring_tx_buffers.h"

#include "link/ring_port.h"
#include "link/ring_shared.h"

namespace sluice::link {

RingTxBuffers::RingTxBuffers(std::shared_ptr<RingShared> shared, RingPort& port)
    : shared_(std::move(shared)),
      port_(&port),
      entries_(std::make_unique<Entry[]>(shared_->tx.pool.count())) {}

BufferRef RingTxBuffers::hold(FramePool::Index index) {
  entries_[index].owner = this;
  ++held_;
  return BufferRef(&entries_[index]);
}

void RingTxBuffers::let_go(std::unique_ptr<RingTxBuffers> buffers) {
  buffers->port_ = nullptr;
  if (buffers->held_ == 0) return;
  RingTxBuffers& self = *buffers;
  self.self_ = std::move(buffers);
}

void RingTxBuffers::dispose(Buffer* buffer) {
  auto& entry = static_cast<Entry&>(*buffer);
  RingTxBuffers& self = *entry.owner;
  auto index = static_cast<FramePool::Index>(&entry - self.entries_.get());
  self.shared_->tx.pool.give_back(index);
  --self.held_;
  if (self.port_) {
    // The VMM may wait for this buffer; it is told at the end of the turn, once for all of them.
    self.port_->turn_later();
  } else if (self.held_ == 0) {
    auto last = std::move(self.self_);
  }
}

}  // namespace sluice::link
