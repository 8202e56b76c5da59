#pragma once

#include <cstdint>
#include <cstring>
#include <functional>

#include <net/address.h>

#include "base/hash.h"

namespace sluice::flow {

/// The two ends of a flow, the same way round for flows of either direction.
struct FlowKey {
  Endpoint guest;
  Endpoint remote;  ///< As the guest names it.

  friend bool operator==(const FlowKey&, const FlowKey&) = default;
};

/// Keyed, so that a guest can't choose ports that collide.
struct FlowKeyHash {
  HashKey key = HashKey::random();

  std::size_t operator()(const FlowKey& flow) const {
    std::uint8_t bytes[36] = {};
    auto guest = flow.guest.address.bytes(), remote = flow.remote.address.bytes();
    std::memcpy(bytes, guest.data(), guest.size());
    std::memcpy(bytes + 16, remote.data(), remote.size());
    store_be16(bytes + 32, flow.guest.port.value());
    store_be16(bytes + 34, flow.remote.port.value());
    return static_cast<std::size_t>(siphash(key, bytes));
  }
};

}  // namespace sluice::flow
