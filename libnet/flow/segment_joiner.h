#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/buffer.h"
#include "base/bytes.h"
#include "base/lent_bytes.h"
#include "stack/tcp_engine.h"
#include "wire/checksum.h"

namespace sluice::flow {

/// In-order segments of one flow, joined so that lwIP sees one: what GRO does for a kernel. A frame
/// that says nothing new but data and the newest acknowledgment joins without being parsed again.
///
/// Payload that lies behind the payload before it, with nothing between but its own headers, is
/// moved over them: a batch of small frames then is one piece for lwIP, for its queue and for the
/// host's socket. So the bytes of a frame that joined are the joiner's to write to.
class SegmentJoiner {
 public:
  /// Joined payload stays below what a pbuf can describe.
  static constexpr std::size_t kMaxJoined = 60000;
  /// Longer payload is left where it lies: a piece of its own costs less than to move it.
  static constexpr std::size_t kMaxMoved = 4096;

  /// A segment with ACK, payload and no flag but PSH beside, checked by the caller.
  struct Segment {
    /// Ethernet header and IP packet without padding; empty: the packet was no frame of its own,
    /// so that no frame joins it.
    Bytes frame;
    Bytes header;      ///< TCP's, with its options.
    Bytes payload;     ///< As far as it is there.
    BufferRef buffer;  ///< Holds all of it,
    LentBytes lent;    ///< but the rest of the payload.

    std::size_t payload_size() const { return payload.size() + lent.size; }
  };

  bool empty() const { return size_ == 0; }
  /// Whether a segment of these flags and this payload is one to begin with or to join.
  static bool is_plain(std::uint8_t flags, std::size_t payload_size);

  /// Begins with this one. Only when empty().
  void begin(const Segment& first);
  /// Appends one of the same flow that is_plain(); false, and nothing changed, where it isn't the
  /// next or there is no room.
  bool add(const Segment& next);
  /// Appends a frame of the guest, of which nothing was looked at yet, if its headers are those of
  /// the last one but for what differs between two segments in a row: lengths, IPv4's
  /// identification, sequence and acknowledgment number, window, PSH, timestamps and checksums,
  /// which are verified (TCP's unless `checksum_trusted`, as it is where something is `lent`).
  /// False, and nothing changed, where they aren't: then the frame goes the ordinary way, whatever
  /// is wrong with it.
  bool add_frame(Bytes frame, const BufferRef& buffer, bool checksum_trusted,
                 const LentBytes& lent = {});

  /// What was joined, until clear().
  stack::InSegment segment() const;
  void clear();

 private:
  bool has_room(std::size_t size) const { return size_ + size <= kMaxJoined; }
  void take_header(const std::uint8_t* header);
  void append(const Segment& next);

  Bytes header_;             ///< The first one's, brought up to date;
  BufferRef header_buffer_;  ///< and what holds it, which its payload need not.
  std::uint32_t next_sequence_ = 0;
  std::size_t size_ = 0;
  std::vector<iovec> payload_;
  std::vector<BufferRef> buffers_;

  // What a frame is compared with; no frame joins where `template_` is empty.
  ConstBytes template_;  ///< The first frame's headers: Ethernet's, IP's and TCP's.
  std::size_t tcp_at_ = 0;
  wire::Checksum pseudo_header_;            ///< Without the length.
  const std::uint8_t* last_end_ = nullptr;  ///< Where the last frame ended.
};

}  // namespace sluice::flow
