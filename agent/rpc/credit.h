#pragma once

#include <cstddef>
#include <cstdint>

namespace sluice::agent::rpc {

// Streams of bytes go on credit in their own messages, as ttrpc has no windows: who receives grants
// bytes, and who sends stops when it has none.

/// What may be sent before the receiver has granted more.
inline constexpr std::uint32_t kInitialCredit = std::uint32_t{256} << 10;
/// The most bytes of one message.
inline constexpr std::size_t kMaxBytesPerMessage = std::size_t{64} << 10;

}  // namespace sluice::agent::rpc
