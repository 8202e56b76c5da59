#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/buffer.h"
#include "base/bytes.h"
#include "base/lent_bytes.h"
#include "base/unread_bytes.h"

namespace sluice::link {

/// The longest frame on any attachment: what libkrun's net thread takes (65550 bytes), which also
/// holds an IP packet of 65535 bytes behind an Ethernet header.
inline constexpr std::size_t kMaxFrame = 65550;
/// Room for the longest headers of a frame for the guest: Ethernet 14, IPv6 40 + fragment 8,
/// TCP 60.
inline constexpr std::size_t kMaxHead = 128;

/// A frame that the guest sent. The bytes are valid, and only the loop's thread looks at them, as
/// long as a reference to `buffer` is held.
struct TxFrame {
  Bytes bytes;
  BufferRef buffer;
  /// The attachment vouches for the transport checksum (virtio_net_hdr says so), so nobody
  /// verifies.
  bool checksum_trusted = false;
  /// The end of `bytes`, which lies here instead until on_frames() returns. Only where all headers
  /// are in place and the checksum is trusted.
  LentBytes lent = {};
};

/// What a port may have to do to a frame before the guest can take it.
enum class Offload : std::uint8_t {
  none,  ///< Complete; send as it is.
  tcp,   ///< `head` ends in a TCP header whose checksum is still to be computed; where the payload
         ///< is longer than `segment_size`, cut it into segments of that size.
};

/// A frame for the guest: headers, then payload in pieces.
struct RxFrame {
  ConstBytes head;  ///< From the Ethernet header on, at most kMaxHead; copied by send().
  std::span<const iovec> payload;  ///< May be empty. Copied by send() unless `release` is set.
  std::size_t payload_size = 0;    ///< Sum of the pieces, and of `unread`.
  /// What follows the pieces, where the port takes_unread(). Copied between send() and the call of
  /// `release`, which then is set.
  UnreadBytes unread = {};
  Offload offload = Offload::none;
  std::uint16_t l4_offset = 0;     ///< Of the TCP header in `head`, where offload == tcp.
  std::uint16_t segment_size = 0;  ///< Largest TCP payload of one frame; 0: never cut.
  /// If set, the payload stays valid until the port has called release(owner), once, on the loop's
  /// thread, and only if send() returned `sent`. It may be called inside send().
  void (*release)(void* owner) = nullptr;
  void* owner = nullptr;
};

enum class SendResult : std::uint8_t {
  sent,  ///< Taken; it will reach the guest unless the attachment goes away.
  full,  ///< Not taken, nothing was kept. on_port_space() follows once there is room.
};

/// Whether a frame may use the room that is kept back for frames nobody would send again.
enum class FrameClass : std::uint8_t {
  data,     ///< TCP: the sender keeps it and tries again.
  control,  ///< ARP, NDP, DHCP, ICMP, UDP, RST: lost if refused.
};

/// Takes what the guest sends. Called on the loop's thread.
class PortHandler {
 public:
  /// A batch in order of arrival. The handler may move the buffers out of the frames.
  virtual void on_frames(std::span<TxFrame> frames) = 0;
  /// A send() was refused since the last call, and now there is room.
  virtual void on_port_space() = 0;
  /// The guest's end is there (again), or gone.
  virtual void on_port_link(bool up) = 0;

 protected:
  ~PortHandler() = default;
};

/// Counters of a port, in frames and bytes since it was made.
struct PortCounters {
  std::uint64_t tx_frames = 0;
  std::uint64_t tx_bytes = 0;
  std::uint64_t rx_frames = 0;
  std::uint64_t rx_bytes = 0;
  std::uint64_t tx_malformed = 0;  ///< Framing errors on the attachment.
  std::uint64_t rx_refused = 0;    ///< send() returned full.
  std::uint64_t rx_lost = 0;       ///< Taken, then lost: the guest's end, or what was unread, went.
  std::uint64_t wakes = 0;         ///< System calls that only wake the other side.
};

/// How one guest's NIC is connected: every attachment ends here. All calls on the loop's thread.
class GuestPort {
 public:
  virtual ~GuestPort() = default;
  /// At most one handler; frames that came before are delivered after it is set.
  virtual void set_handler(PortHandler* handler) = 0;
  virtual SendResult send(const RxFrame& frame, FrameClass frame_class) = 0;
  /// Hands everything sent so far to the guest; the end of a batch. Never calls the handler.
  virtual void flush() = 0;
  /// Frames may end in UnreadBytes, as nothing has to be done to their payload.
  virtual bool takes_unread() const { return false; }
  /// Largest IP packet that the attachment can carry, bytes.
  virtual std::size_t max_mtu() const = 0;
  virtual PortCounters counters() const = 0;
};

}  // namespace sluice::link
