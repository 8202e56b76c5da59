#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/bytes.h"
#include "link/guest_port.h"

namespace sluice::link {

/// struct virtio_net_hdr (virtio 1.2 section 5.1.6), which stands before each frame on a virtio
/// queue or a tap with IFF_VNET_HDR. Fields are little-endian on the link.
struct VirtioNetHeader {
  static constexpr std::size_t kLegacySize = 10;  ///< Without `buffers`.
  static constexpr std::size_t kSize = 12;

  static constexpr std::uint8_t kNeedsChecksum = 1, kDataValid = 2;
  enum Gso : std::uint8_t { kNone = 0, kTcp4 = 1, kUdp = 3, kTcp6 = 4, kUdpL4 = 5 };
  static constexpr std::uint8_t kEcn = 0x80;  ///< Beside kTcp4 or kTcp6.

  std::uint8_t flags = 0;
  std::uint8_t gso = kNone;
  std::uint16_t header_size = 0;      ///< A hint of the sender's; nothing here goes by it.
  std::uint16_t segment_size = 0;     ///< Payload bytes of each segment, where `gso`.
  std::uint16_t checksum_start = 0;   ///< In the frame,
  std::uint16_t checksum_offset = 0;  ///< and from there.
  std::uint16_t buffers = 0;          ///< Descriptor chains that the frame takes, to the guest.

  /// `bytes` has at least kLegacySize; `buffers` is read where there are kSize.
  static VirtioNetHeader read(ConstBytes bytes);
  /// Likewise.
  void write(Bytes out) const;
};

/// What a guest takes from us, or may leave to us.
struct Offloads {
  bool checksum = false;
  bool tcp4 = false, tcp6 = false;  ///< Segments longer than its MTU; with `checksum` only.
  bool tcp_ecn = false;             ///< Also where CWR is set, RFC 3168 section 6.1.2.
  bool udp4 = false, udp6 = false;  ///< Several datagrams of one size as one.
};

/// For the log: "checksum tcp4 tcp6 ...", or "none".
std::string to_string(const Offloads& offloads);

/// What a guest's header says of its frame, once checked against it.
struct TxOffload {
  /// The transport checksum was left to us, or is said to be right. Nobody needs it, as only
  /// payload leaves.
  bool checksum_trusted = false;
  /// Not 0: the frame is several datagrams of so many payload bytes, for DatagramCutter.
  std::uint16_t datagram_size = 0;
};

/// Checks the header of a frame that the guest sent. A checksum that stands elsewhere than in TCP's
/// or UDP's own place, as within a tunnel, is computed and written into `frame`, for the frame's
/// payload carries it on.
/// Nothing where the frame is none that such a header can stand before: fields outside of it, a
/// segmentation that is unknown or not its protocol's, over kMaxDatagrams datagrams or kMaxHead
/// bytes before them. Frames of any content are safe.
std::optional<TxOffload> check_offload(const VirtioNetHeader& header, Bytes frame);

/// Whether a frame's end may be lent: a TCP segment with no flag but ACK and PSH, of which the
/// first `there` bytes of `frame` hold all headers. check_offload() then looks at nothing else, and
/// finds its checksum trusted or its header wrong.
bool may_lend(const VirtioNetHeader& header, ConstBytes frame, std::size_t there);

/// Datagrams of one frame: Linux's UDP_MAX_SEGMENTS, and all of 64 KiB at 512 bytes.
inline constexpr std::size_t kMaxDatagrams = 128;

/// Cuts a frame with TxOffload::datagram_size into the frames that the guest meant. Their UDP
/// checksum is 0 and not to be verified.
///
///     DatagramCutter cutter(frame, offload.datagram_size);
///     while (std::size_t size = cutter.next(out)) ...
class DatagramCutter {
 public:
  /// `frame` is one that check_offload() accepted, is not changed meanwhile, and outlives this.
  DatagramCutter(ConstBytes frame, std::uint16_t datagram_size);
  /// The longest frame of all, bytes.
  std::size_t full_frame() const;
  std::size_t count() const;
  /// Writes the next frame; its size, or 0 after the last and where `out` is shorter than
  /// full_frame().
  std::size_t next(Bytes out);

 private:
  ConstBytes head_;
  ConstBytes payload_;
  std::size_t l4_ = 0;
  std::size_t step_;
  std::uint16_t index_ = 0;
};

/// Leaves checksum and segmentation of a frame with Offload::tcp to the guest: copies `frame.head`
/// to `head`, of kMaxHead bytes, with the whole's length and the pseudo header's sum for checksum.
/// The header for the frame; nothing where the guest doesn't take it so, and it has to be cut for
/// it (Segmenter).
std::optional<VirtioNetHeader> leave_to_guest(const RxFrame& frame, const Offloads& guest,
                                              Bytes head);

}  // namespace sluice::link
