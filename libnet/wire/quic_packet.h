#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "wire/quic_crypto.h"

// QUIC packets with a long header, as a client sends them in the clear or nearly so (RFC 9000
// section 17.2, RFC 9369 section 3.2), and the frames of its Initials.

namespace sluice::wire {

/// Connection ids of versions 1 and 2 are no longer (RFC 9000 section 17.2).
inline constexpr std::size_t kQuicMaxConnectionIdBytes = 20;

/// A packet where it lies in a datagram, its header's protected part not read.
struct QuicLongPacket {
  enum class Type : std::uint8_t { initial, zero_rtt, handshake, retry };

  Type type = Type::initial;
  QuicVersion version = QuicVersion::v1;
  ConstBytes destination_id;
  ConstBytes source_id;
  std::size_t number_offset = 0;  ///< Of the packet number in `bytes`; 0 in a Retry.
  ConstBytes bytes;               ///< The packet, without others of its datagram.
};

/// What a datagram, or what is left of it, begins with.
struct QuicFront {
  enum class Kind : std::uint8_t {
    packet,         ///< One of version 1 or 2, in QuicFront::packet.
    not_long,       ///< Not a long header: a short one, or not QUIC.
    other_version,  ///< A long header of a version, in QuicFront::version, that can't be read.
    malformed,      ///< A long header of version 1 or 2, but lengths don't add up.
  };

  Kind kind = Kind::not_long;
  std::uint32_t version = 0;
  QuicLongPacket packet;
};

/// Looks at the front of `bytes`. A Retry has no length and takes all of them. The fixed bit may be
/// 0 in versions 1 and 2, as RFC 9287 lets peers agree on it; in others the bytes are then
/// not_long.
QuicFront read_quic_front(ConstBytes bytes);

/// An Initial without its protection.
struct QuicOpened {
  std::uint64_t number = 0;
  std::vector<std::uint8_t> payload;  ///< Frames.
};
/// Removes the protection of an Initial. `largest_number`: of the packets opened with the same keys
/// so far, from which the packet's own is completed (RFC 9000 appendix A.3). Nothing where it is
/// not authentic under these keys, or is too short to be.
std::optional<QuicOpened> open_quic_initial(const QuicLongPacket& packet,
                                            const QuicInitialKeys& keys,
                                            std::optional<std::uint64_t> largest_number);

/// A piece of the handshake's byte stream.
struct QuicCryptoFrame {
  std::uint64_t offset = 0;
  ConstBytes data;
};
/// The CRYPTO frames of an Initial's payload, in its order. Nothing where the payload is empty or
/// has a frame that Initials can't have (RFC 9000 section 17.2.2) or that is malformed.
std::optional<std::vector<QuicCryptoFrame>> read_quic_initial_frames(ConstBytes payload);

}  // namespace sluice::wire
