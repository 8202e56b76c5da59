#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/bytes.h"
#include "link/guest_port.h"

namespace sluice::link {

/// Cuts a frame with Offload::tcp into complete frames, as a NIC with TCP segmentation would: each
/// gets a copy of the headers with its own lengths, IP id, sequence number and checksums, and a
/// slice of the payload, which is not copied. FIN and PSH stay on the last frame, CWR on the first
/// (RFC 3168 section 6.1.2). Where nothing is to be cut, the one frame only gets its checksums.
///
///     auto segmenter = Segmenter::make(frame);
///     while (auto cut = segmenter->next(head, pieces)) ...
class Segmenter {
 public:
  /// What `frame` points to must stay as long as this is used. `least_segment` bytes are put in a
  /// frame even if the guest asked for smaller ones; 1: never.
  /// Nothing where `frame` is not Ethernet, IPv4 or IPv6 and TCP up to the end of its head, or over
  /// 64 KiB.
  static std::optional<Segmenter> make(const RxFrame& frame, std::size_t least_segment = 1);

  /// Frames that next() gives in all; at least 1.
  std::size_t count() const { return count_; }
  /// The size of each frame but the last, which may be shorter, bytes.
  std::size_t full_frame() const;

  struct Cut {
    std::size_t head_size = 0;
    std::size_t payload_size = 0;
  };
  /// Writes the next frame's headers to the start of `head`, of kMaxHead bytes, and appends the
  /// pieces of its payload to `pieces`. Nothing after the last frame.
  std::optional<Cut> next(Bytes head, std::vector<iovec>& pieces);

 private:
  explicit Segmenter(const RxFrame& frame) : frame_(frame) {}
  void take_payload(std::size_t size, std::vector<iovec>& pieces);
  void write_ip(Bytes head, std::size_t payload_size) const;
  void write_tcp(Bytes head, std::span<const iovec> payload, std::size_t payload_size) const;

  RxFrame frame_;
  std::size_t step_ = 0;
  std::size_t count_ = 1;
  std::size_t index_ = 0;
  std::size_t offset_ = 0;        ///< Payload bytes given so far.
  std::size_t piece_ = 0;         ///< Where in the payload that is: the piece,
  std::size_t piece_offset_ = 0;  ///< and the place in it.
};

}  // namespace sluice::link
