#pragma once

#include <cstdint>
#include <optional>

#include <net/address.h>

#include "base/bytes.h"
#include "wire/checksum.h"

namespace sluice::wire {

inline constexpr std::size_t kTcpHeaderSize = 20;
inline constexpr std::size_t kMaxTcpHeaderSize = 60;
/// The largest shift that a receiver may use (RFC 7323 section 2.3).
inline constexpr std::uint8_t kMaxWindowScale = 14;

/// No segment for a guest is cut smaller, whatever MSS it announces: RFC 9293 section 3.7.1 wants
/// 536 to be acceptable anyway, and one-byte segments would cost 64000 frames a write.
inline constexpr std::uint16_t kLeastTcpSegment = 216;

/// The control bits of a segment, as in byte 13 of its header (RFC 9293 section 3.1).
struct TcpFlags {
  std::uint8_t bits = 0;

  static constexpr std::uint8_t kFin = 0x01, kSyn = 0x02, kRst = 0x04, kPsh = 0x08, kAck = 0x10,
                                kUrg = 0x20, kEce = 0x40, kCwr = 0x80;

  constexpr bool fin() const { return (bits & kFin) != 0; }
  constexpr bool syn() const { return (bits & kSyn) != 0; }
  constexpr bool rst() const { return (bits & kRst) != 0; }
  constexpr bool psh() const { return (bits & kPsh) != 0; }
  constexpr bool ack() const { return (bits & kAck) != 0; }
  constexpr bool urg() const { return (bits & kUrg) != 0; }
  /// Opens a connection: SYN and neither ACK, RST nor FIN.
  constexpr bool is_open() const { return (bits & (kSyn | kAck | kRst | kFin)) == kSyn; }
  /// Data or an acknowledgment, and nothing that opens, ends or marks: ACK and PSH at most.
  constexpr bool are_plain() const { return (bits & ~(kAck | kPsh)) == 0; }
  /// A combination that some conforming sender uses: SYN, FIN and RST exclude each other, and all
  /// but a SYN or a RST carry ACK (RFC 9293 section 3.10.7.4, fifth step).
  constexpr bool are_sane() const {
    int exclusive = (syn() ? 1 : 0) + (fin() ? 1 : 0) + (rst() ? 1 : 0);
    return exclusive <= 1 && (ack() || syn() || rst());
  }
  friend constexpr bool operator==(TcpFlags, TcpFlags) = default;
};

/// A TCP segment (RFC 9293 section 3.1) whose header length and options have been checked. The
/// bytes are the caller's and outlive the view.
class TcpView {
 public:
  /// Nothing unless: 20 bytes or more, 5 <= data offset, data offset * 4 <= size, options_valid().
  /// Neither the flags nor the checksum are looked at.
  static std::optional<TcpView> parse(ConstBytes segment);

  /// Whether every option has the form of RFC 9293 section 3.1: kinds other than end-of-list and
  /// no-operation have a length of at least 2 that stays inside `options`, and MSS, window scale,
  /// SACK-permitted, SACK and timestamps have exactly theirs. After an end-of-list nothing counts.
  /// lwIP 2.2.1 reads beyond the header where this does not hold.
  static bool options_valid(ConstBytes options);

  ConstBytes bytes() const { return segment_; }
  Port source_port() const { return Port(load_be16(at(0))); }
  Port destination_port() const { return Port(load_be16(at(2))); }
  std::uint32_t sequence() const { return load_be32(at(4)); }
  std::uint32_t acknowledgment() const { return load_be32(at(8)); }
  TcpFlags flags() const { return {segment_[13]}; }
  std::uint16_t window() const { return load_be16(at(14)); }
  std::uint16_t checksum() const { return load_be16(at(16)); }
  std::uint16_t urgent_pointer() const { return load_be16(at(18)); }
  std::size_t header_size() const { return std::size_t{4} * (segment_[12] >> 4); }
  ConstBytes options() const {
    return segment_.subspan(kTcpHeaderSize, header_size() - kTcpHeaderSize);
  }
  ConstBytes payload() const { return segment_.subspan(header_size()); }

  /// Sequence numbers that the segment takes: payload, plus one each for SYN and FIN.
  std::uint32_t sequence_length() const;
  /// Whether URG is set and points beyond the payload (RFC 9293 section 3.8.5).
  bool urgent_beyond_payload() const {
    return flags().urg() && urgent_pointer() > payload().size();
  }

  // The first option of its kind; nothing where there is none. They mean something in a SYN only.
  std::optional<std::uint16_t> mss() const;  ///< May be anything from 0 on.
  /// At most kMaxWindowScale, as RFC 7323 section 2.3 has it for larger ones.
  std::optional<std::uint8_t> window_scale() const;
  bool sack_permitted() const;
  bool has_timestamps() const;

  /// `segment` must be the whole payload of an unfragmented packet between these addresses.
  bool checksum_ok(const IpAddress& source, const IpAddress& destination) const;

 private:
  explicit TcpView(ConstBytes segment) : segment_(segment) {}
  const std::uint8_t* at(std::size_t offset) const { return segment_.data() + offset; }
  ConstBytes find_option(std::uint8_t kind) const;
  ConstBytes segment_;
};

/// A TCP header with the options that a SYN of ours may carry.
struct TcpHeader {
  Port source_port;
  Port destination_port;
  std::uint32_t sequence = 0;
  std::uint32_t acknowledgment = 0;
  TcpFlags flags;
  std::uint16_t window = 0;
  std::optional<std::uint16_t> mss;
  std::optional<std::uint8_t> window_scale;
  bool sack_permitted = false;

  /// 20 to 32, a multiple of 4.
  std::size_t size() const;
  /// Writes the header with its checksum. `rest` holds the pseudo header and the payload, the
  /// payload added from an even place: pseudo_header(...) and then add(payload).
  /// Bytes written; 0, and nothing is written, where `out` is shorter than size().
  std::size_t emit(Bytes out, const Checksum& rest) const;
};

/// The answer to `segment` that ends the connection as RFC 9293 section 3.10.7.1 has it: for the
/// one who sent it, from the one it was sent to. Nothing for a RST, which is never answered.
std::optional<TcpHeader> reset_for(const TcpView& segment);

}  // namespace sluice::wire
