#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "agent/client/caller.h"
#include "agent/rpc/credit.h"
#include "agent/rpc/message.h"

namespace sluice::agent::client {

/// Sends bytes on a stream, in messages whose field `tag` they are.
inline void send_bytes(Caller& caller, std::uint32_t stream, std::uint32_t tag, ConstBytes bytes) {
  while (!bytes.empty()) {
    ConstBytes piece = bytes.first(std::min(bytes.size(), rpc::kMaxBytesPerMessage));
    bytes = bytes.subspan(piece.size());
    rpc::BytesMessage message(tag, piece.size());
    std::copy(piece.begin(), piece.end(), message.space().begin());
    caller.send(stream, message.of(piece.size()));
  }
}

/// Bytes that have found their place and are not granted again yet.
class Consumed {
 public:
  /// What is to be granted now; 0: nothing yet.
  std::uint32_t add(std::size_t bytes) {
    bytes_ += bytes;
    return bytes_ < rpc::kGrantStep ? 0 : static_cast<std::uint32_t>(std::exchange(bytes_, 0));
  }

 private:
  std::size_t bytes_ = 0;
};

}  // namespace sluice::agent::client
