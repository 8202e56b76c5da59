#pragma once

#include <cstdint>

#include <net/address.h>

#include "base/bytes.h"
#include "wire/ip_protocol.h"

// The Internet checksum: RFC 1071, updates RFC 1624. All of it is pure and may be called from any
// thread.

namespace sluice::wire {

/// Adds `data` to a running ones'-complement sum of 16-bit words in the machine's byte order; start
/// with 0. An odd last byte counts as a word with a zero behind it, so only the last piece of a
/// chain may be odd: where pieces may be odd, use Checksum. Uses AVX2 where the CPU has it.
std::uint64_t checksum_add(ConstBytes data, std::uint64_t sum);

/// The same without SIMD, for tests and comparison.
std::uint64_t checksum_add_portable(ConstBytes data, std::uint64_t sum);

/// Brings a running sum down to 16 bits, still in the machine's order and not inverted.
std::uint16_t checksum_fold(std::uint64_t sum);

/// A checksum of pieces that are added one after the other and may have any length.
class Checksum {
 public:
  void add(ConstBytes data);
  /// `value` in host order, as it would be on the wire.
  void add_u16(std::uint16_t value);
  void add_u32(std::uint32_t value);
  /// Adds what another object has seen, as if it began at an even place of this one. Does not
  /// change whether this object's next piece begins at an odd place.
  void merge(const Checksum& other);

  /// What belongs in the checksum field, host order. 0 also when the bytes added hold a right
  /// checksum already: see is_valid().
  std::uint16_t value() const;
  /// For bytes that include the checksum field (and the pseudo header where there is one).
  bool is_valid() const { return value() == 0; }

 private:
  std::uint64_t sum_ = 0;
  bool odd_ = false;
};

/// The pseudo header of TCP and UDP (RFC 9293 section 3.1, RFC 768) or of IPv6 (RFC 8200 section
/// 8.1). `length` is the transport header's and payload's, bytes. Both addresses are of one family.
Checksum pseudo_header(const IpAddress& source, const IpAddress& destination, IpProtocol protocol,
                       std::size_t length);

/// The checksum field after one aligned word changed (RFC 1624 section 3, equation 3). All in host
/// order.
std::uint16_t checksum_update(std::uint16_t checksum, std::uint16_t old_word,
                              std::uint16_t new_word);
/// The same for two words at once.
std::uint16_t checksum_update_u32(std::uint16_t checksum, std::uint32_t old_value,
                                  std::uint32_t new_value);

}  // namespace sluice::wire
