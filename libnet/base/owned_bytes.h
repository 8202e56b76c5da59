#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "base/buffer.h"

namespace sluice {

/// A Buffer with bytes of its own.
struct OwnedBytes : Buffer {
  explicit OwnedBytes(std::vector<std::uint8_t> from)
      : Buffer([](Buffer* buffer) { delete static_cast<OwnedBytes*>(buffer); }),
        bytes(std::move(from)) {}
  std::vector<std::uint8_t> bytes;
};

/// The same, of what the guest sent: it counts as ReadMemory. `bytes` keeps its size.
struct ReadBytes : OwnedBytes {
  explicit ReadBytes(std::vector<std::uint8_t> from) : OwnedBytes(std::move(from)) {
    dispose = [](Buffer* buffer) { delete static_cast<ReadBytes*>(buffer); };
    ReadMemory::add(bytes.size());
  }
  ~ReadBytes() { ReadMemory::remove(bytes.size()); }
};

}  // namespace sluice
