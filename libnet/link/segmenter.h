#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "link/guest_port.h"
#include "wire/checksum.h"

namespace sluice::link {

/// One frame for the wire: finished headers, and the part of the payload that follows them.
struct Segment {
  std::array<std::uint8_t, kMaxHead> head_bytes;
  std::size_t head_size = 0;
  std::size_t payload_offset = 0;
  std::size_t payload_size = 0;

  ConstBytes head() const { return ConstBytes(head_bytes).first(head_size); }
};

/// Does for an attachment without offload what a NIC does with it: fills in the TCP checksum, and
/// cuts a payload longer than the frame's segment_size into segments (what Linux calls GSO).
/// Headers are copied and corrected; the payload is only read, once, for its checksum. Other frames
/// pass as they are.
///
/// `frame` and its payload stay valid while the segmenter is used. Requires a well-formed head:
/// ours.
class Segmenter {
 public:
  explicit Segmenter(const RxFrame& frame);

  /// How many segments there are in all; at least one.
  std::size_t count() const;
  /// Writes the next one. False after the last.
  bool next(Segment& segment);

 private:
  wire::Checksum pseudo(std::size_t transport_size) const;
  void add_payload(wire::Checksum& checksum, std::size_t size);

  const RxFrame& frame_;
  std::size_t step_;  // payload bytes of every segment but the last
  std::size_t offset_ = 0;
  std::size_t piece_ = 0;  // where in frame_.payload offset_ lies
  std::size_t in_piece_ = 0;
  std::size_t index_ = 0;
  bool is_v6_ = false;
  bool done_ = false;
};

/// Describes `size` bytes of the frame's payload from `offset` on. Calls `add(iovec)` for each
/// piece.
template <typename Add>
void each_piece(const RxFrame& frame, std::size_t offset, std::size_t size, Add&& add) {
  for (const iovec& piece : frame.payload) {
    if (size == 0) return;
    if (offset >= piece.iov_len) {
      offset -= piece.iov_len;
      continue;
    }
    std::size_t here = piece.iov_len - offset < size ? piece.iov_len - offset : size;
    add(iovec{static_cast<std::uint8_t*>(piece.iov_base) + offset, here});
    size -= here;
    offset = 0;
  }
}

}  // namespace sluice::link
