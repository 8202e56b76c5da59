#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "base/bytes.h"

// The protection of a QUIC client's Initial packets (RFC 9001 section 5, RFC 9369 section 3.3). Its
// keys follow from a connection id in the packet, so that everybody on the way can read it. The
// ciphers are OpenSSL's.

namespace sluice::wire {

enum class QuicVersion : std::uint32_t { v1 = 1, v2 = 0x6b3343cf };

/// A packet's header is protected by this many bytes of its ciphertext.
inline constexpr std::size_t kQuicSampleBytes = 16;
/// The sample lies where it would for the longest packet number (RFC 9001 section 5.4.2).
inline constexpr std::size_t kQuicMaxPacketNumberBytes = 4;
inline constexpr std::size_t kQuicTagBytes = 16;

/// What a client's Initial packets are sealed with.
struct QuicInitialKeys {
  std::array<std::uint8_t, 16> key{};
  std::array<std::uint8_t, 12> iv{};
  std::array<std::uint8_t, 16> header{};

  /// `connection_id`: the destination's in the client's first Initial, or, after a Retry, in the
  /// first that follows it. Nothing where OpenSSL fails, which is when memory ends.
  static std::optional<QuicInitialKeys> of_client(QuicVersion version, ConstBytes connection_id);

  /// What the header's first byte (low four bits) and the packet number's bytes are XORed with.
  /// Requires kQuicSampleBytes.
  std::optional<std::array<std::uint8_t, 5>> header_mask(ConstBytes sample) const;
  /// The payload, where `ciphertext` with its tag at the end is authentic. `header` is as it was
  /// before its protection.
  std::optional<std::vector<std::uint8_t>> open(std::uint64_t packet_number, ConstBytes header,
                                                ConstBytes ciphertext) const;
};

}  // namespace sluice::wire
