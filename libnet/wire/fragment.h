#pragma once

#include <sys/uio.h>

#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include "base/bytes.h"
#include "wire/ip.h"
#include "wire/ipv6.h"

namespace sluice::wire {

/// The least MTU that a packet can be cut to: RFC 791 (page 25) and RFC 8200 section 5.
inline constexpr std::size_t kMinIpv4Mtu = 68;
inline constexpr std::size_t kMinIpv6Mtu = 1280;

/// One fragment: its headers as a copy, its payload as a place in the whole packet's payload.
struct FragmentSlice {
  std::array<std::uint8_t, kIpv6HeaderSize + kIpv6FragmentHeaderSize> header_bytes;
  std::size_t header_size = 0;
  std::size_t payload_offset = 0;
  std::size_t payload_size = 0;

  ConstBytes header() const { return ConstBytes(header_bytes).first(header_size); }
};

/// Cuts a packet of ours, up to 64 KiB, to an MTU (RFC 791 section 2.3, RFC 8200 section 4.5)
/// without touching its payload. A packet that fits comes out whole, as one slice.
class Fragmenter {
 public:
  /// `header` describes the whole packet; its `id` and, where the packet must be cut, its
  /// `dont_fragment` are not used. `id` must differ from those of other packets in flight between
  /// the two addresses; IPv4 takes its low 16 bits.
  /// Nothing where `mtu` is below the family's least, the families differ or the payload is longer
  /// than IpHeader allows.
  static std::optional<Fragmenter> make(const IpHeader& header, std::size_t mtu, std::uint32_t id);

  /// How many slices there are in all.
  std::size_t count() const;
  /// The next slice, in order; nothing after the last.
  std::optional<FragmentSlice> next();

 private:
  Fragmenter(const IpHeader& header, std::size_t step, bool cut, std::uint32_t id)
      : header_(header), step_(step), id_(id), cut_(cut) {}
  IpHeader header_;
  std::size_t step_;  // payload bytes of all slices but the last
  std::size_t at_ = 0;
  std::uint32_t id_;
  bool cut_;
  bool done_ = false;
};

/// Fills `out` with the part of `pieces` that begins at `offset` bytes and is `size` bytes long.
/// Returns how many of `out` it took, at most pieces.size(); 0 where the part is not inside or
/// `out` is too short.
std::size_t slice_pieces(std::span<const iovec> pieces, std::size_t offset, std::size_t size,
                         std::span<iovec> out);

}  // namespace sluice::wire
