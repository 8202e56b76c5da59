#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace sluice::agent::rpc {

// Streams of bytes go on credit in their own messages, as ttrpc has no windows: who receives grants
// bytes, and who sends stops when it has none.

/// What may be sent before the receiver has granted more.
inline constexpr std::uint32_t kInitialCredit = std::uint32_t{256} << 10;
/// The most bytes of one message.
inline constexpr std::size_t kMaxBytesPerMessage = std::size_t{64} << 10;
/// Less is not granted at once, as each grant is a message; but where nothing else is to come.
inline constexpr std::uint32_t kGrantStep = kInitialCredit / 4;

/// Credit after a grant. It has a most, so that no number of grants overflows it.
inline std::uint64_t with_grant(std::uint64_t credit, std::uint32_t grant) {
  constexpr std::uint64_t kMost = std::uint64_t{1} << 40;
  return std::min(credit + grant, kMost);
}

}  // namespace sluice::agent::rpc
