#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
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
///
/// Bytes that nobody has read are let go once they are acknowledged: a frame that has them and is
/// still out then has nothing that the guest is without. They are one run, with others before them
/// and, once all are let go, after them.
class TcpEndpoint::Shared final : public UnreadSource {
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

  /// `bytes` more were written that nobody has read, `before` bytes after the oldest that lwIP is
  /// not done with.
  void push_unread(UnreadSource& source, std::uint64_t position, std::size_t bytes,
                   std::size_t before) {
    if (unread() == 0) {
      source_ = &source;
      unread_from_ = position;
      before_unread_ = before;
    }
    unread_to_ = position + bytes;
  }
  /// The oldest `bytes` of them were read, as lwIP's own copy.
  void now_read(std::size_t bytes) {
    unread_from_ += bytes;
    before_unread_ += bytes;
    push(BufferRef(), bytes);
  }
  /// Unread bytes that are not let go.
  std::size_t unread() const { return static_cast<std::size_t>(unread_to_ - unread_from_); }
  /// The oldest of them.
  std::uint64_t unread_from() const { return unread_from_; }
  bool copy(std::uint64_t position, std::span<const iovec> to) override {
    return source_ && unread() > 0 && position >= unread_from_ && source_->copy(position, to);
  }

  // Each of these may free this, and then the endpoint has none.

  /// lwIP is done with so many of the oldest bytes; the number of them that were unread.
  std::size_t acknowledge(std::size_t bytes) {
    std::size_t unread_bytes = 0;
    if (unread() > 0) {
      std::size_t before = std::min(bytes, before_unread_);
      before_unread_ -= before;
      unread_bytes = std::min(bytes - before, unread());
      unread_from_ += unread_bytes;
    }
    acknowledged_ += bytes - unread_bytes;
    trim();
    return unread_bytes;
  }
  /// With all of them; the number that were unread.
  std::size_t acknowledge_all() {
    std::size_t unread_bytes = unread();
    unread_from_ = unread_to_;
    acknowledged_ = 0;
    for (std::size_t i = head_; i < held_.size(); ++i) acknowledged_ += held_[i].bytes;
    trim();
    return unread_bytes;
  }
  /// The endpoint goes; what is left here is for frames.
  void orphan() {
    endpoint_ = nullptr;
    source_ = nullptr;
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
    if (head_ == held_.size() && unread() == 0) {
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
  std::size_t acknowledged_ = 0;    ///< Bytes from the front on that lwIP is done with.
  UnreadSource* source_ = nullptr;  ///< Of the run of unread bytes.
  std::uint64_t unread_from_ = 0, unread_to_ = 0;
  std::size_t before_unread_ = 0;  ///< Bytes before the run that lwIP is not done with.
  std::size_t frames_out_ = 0;
};

}  // namespace sluice::stack
