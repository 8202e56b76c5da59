#pragma once

#include <cstddef>
#include <vector>

#include "stack/tcp_engine.h"

namespace sluice::stack {

/// Host data that lwIP and frames in the guest's port refer to. The guest can acknowledge bytes
/// whose frame still waits in the port, and an aborted connection leaves frames behind, so data is
/// let go only when it is acknowledged *and* no frame is out.
struct TcpEndpoint::Shared {
  struct Held {
    BufferRef buffer;  ///< Empty for data that lwIP copied.
    std::size_t bytes;
  };

  std::vector<Held> held;  ///< In order of sequence number, the oldest at `head`.
  std::size_t head = 0;
  std::size_t acknowledged = 0;  ///< Bytes from the front on that lwIP is done with.
  std::size_t frames_out = 0;
  bool orphaned = false;  ///< The endpoint is gone; the last frame frees this.

  std::size_t pieces() const { return held.size() - head; }

  void push(const BufferRef& buffer, std::size_t bytes) {
    if (pieces() > 0 && held.back().buffer.get() == buffer.get()) {
      held.back().bytes += bytes;
    } else {
      held.push_back({buffer, bytes});
    }
  }

  void acknowledge_all() {
    acknowledged = 0;
    for (std::size_t i = head; i < held.size(); ++i) acknowledged += held[i].bytes;
    trim();
  }

  void trim() {
    if (frames_out > 0) return;
    while (head < held.size() && acknowledged >= held[head].bytes) {
      acknowledged -= held[head].bytes;
      held[head].buffer = BufferRef();
      ++head;
    }
    if (head == held.size()) {
      // Idle connections keep no memory for it.
      if (held.capacity() > 16) {
        std::vector<Held>().swap(held);
      } else {
        held.clear();
      }
      head = 0;
    } else if (head > 64 && head * 2 > held.size()) {
      held.erase(held.begin(), held.begin() + static_cast<std::ptrdiff_t>(head));
      head = 0;
    }
  }

  void orphan() {
    orphaned = true;
    if (frames_out == 0) delete this;
  }

  void frame_released() {
    --frames_out;
    if (frames_out > 0) return;
    if (orphaned) {
      delete this;
    } else {
      trim();
    }
  }
};

}  // namespace sluice::stack
