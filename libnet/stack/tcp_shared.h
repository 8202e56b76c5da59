#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "stack/tcp_engine.h"

namespace sluice::stack {

/// Host data that lwIP and frames in the guest's port refer to. The guest can acknowledge bytes
/// whose frame still waits in the port, and an aborted connection leaves frames behind, so data is
/// let go only when it is acknowledged *and* no frame is out.
///
/// It is there from the first such data until all is let go, so an idle connection has none, nor
/// one that only sends what lwIP copied: that belongs to lwIP's own buffers, to which frames hold
/// references. It frees itself, as either the last ACK or the last frame may be what ends it.
class TcpEndpoint::Shared {
 public:
  /// For an endpoint that has `copied` bytes to be acknowledged already.
  static Shared* make(TcpEndpoint& endpoint, std::size_t copied) {
    auto* shared = new Shared(endpoint);  // NOLINT: frees itself
    if (copied > 0) shared->push(BufferRef(), copied);
    return shared;
  }

  /// Entries that wait.
  std::size_t pieces() const { return held_.size() - head_; }

  /// `bytes` more were written; they lie in `buffer`, or were copied if that is empty.
  void push(const BufferRef& buffer, std::size_t bytes) {
    if (pieces() > 0 && held_.back().buffer.get() == buffer.get()) {
      held_.back().bytes += bytes;
    } else {
      held_.push_back({buffer, bytes});
    }
  }

  // Each of these may free this, and then the endpoint has none.

  /// lwIP is done with so many of the oldest bytes.
  void acknowledge(std::size_t bytes) {
    acknowledged_ += bytes;
    trim();
  }
  void acknowledge_all() {
    acknowledged_ = 0;
    for (std::size_t i = head_; i < held_.size(); ++i) acknowledged_ += held_[i].bytes;
    trim();
  }
  /// The endpoint goes; what is left here is for frames.
  void orphan() {
    endpoint_ = nullptr;
    if (frames_out_ == 0) delete this;
  }

  void add_frame() { ++frames_out_; }
  void remove_frame() {
    if (--frames_out_ > 0) return;
    if (endpoint_) {
      trim();
    } else {
      delete this;
    }
  }

 private:
  struct Held {
    BufferRef buffer;  ///< Empty for data that lwIP copied.
    std::size_t bytes;
  };

  explicit Shared(TcpEndpoint& endpoint) : endpoint_(&endpoint) {}

  void trim() {
    if (frames_out_ > 0) return;
    while (head_ < held_.size() && acknowledged_ >= held_[head_].bytes) {
      acknowledged_ -= held_[head_].bytes;
      held_[head_].buffer = BufferRef();
      ++head_;
    }
    if (head_ == held_.size()) {
      endpoint_->shared_ = nullptr;
      delete this;
    } else if (head_ > 64 && head_ * 2 > held_.size()) {
      held_.erase(held_.begin(), held_.begin() + static_cast<std::ptrdiff_t>(head_));
      head_ = 0;
    }
  }

  TcpEndpoint* endpoint_;   ///< None once it is gone.
  std::vector<Held> held_;  ///< In order of sequence number, the oldest at head_.
  std::size_t head_ = 0;
  std::size_t acknowledged_ = 0;  ///< Bytes from the front on that lwIP is done with.
  std::size_t frames_out_ = 0;
};

}  // namespace sluice::stack
