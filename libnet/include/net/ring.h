#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include <net/status.h>

namespace sluice {

namespace link {
struct RingShared;
}

/// What wakes a sleeping side. A pipe takes a second descriptor and is for where there is no
/// eventfd, which is also found out by itself.
enum class WakeKind : std::uint8_t { eventfd, pipe };

/// Sizes of the two rings of a guest. Frame memory is reserved, and taken only once frames come
/// that use it: a frame of up to 2 KiB takes a small buffer, a larger one
/// one of 68 KiB, of which there are a quarter as many as frames.
struct RingOptions {
  std::size_t tx_frames = 1024;  ///< 16 to 65536, rounded up to a power of two.
  /// Likewise; never fewer than 64 KiB of TCP take as segments of the guest's MTU, eight times: 512
  /// at 1500.
  std::size_t rx_frames = 1024;
  WakeKind wake = WakeKind::eventfd;
  /// Each frame, both ways, has a virtio_net_hdr of kVirtioHeaderSize bytes before it (virtio 1.2
  /// section 5.1.6, little-endian), as a virtio-net device has it: a guest leaves checksums,
  /// segmentation (TSO) and cutting into datagrams (USO) to the gateway, and takes from it what
  /// RingLink::set_guest_offloads() says.
  bool virtio_header = false;
};

inline constexpr std::size_t kVirtioHeaderSize = 12;

/// What a guest's driver takes from its NIC: the features VIRTIO_NET_F_GUEST_* that it accepted.
/// Without `checksum` it takes nothing of the rest.
struct GuestOffloads {
  bool checksum = false;
  bool tcp4 = false;  ///< Segments longer than its MTU.
  bool tcp6 = false;
  bool tcp_ecn = false;  ///< Likewise, with CWR set.
};

/// Counters of one RingLink, since it was made.
struct RingCounters {
  std::uint64_t tx_frames = 0;
  std::uint64_t tx_bytes = 0;
  std::uint64_t tx_refused = 0;  ///< send() answered would_block.
  std::uint64_t rx_frames = 0;
  std::uint64_t rx_bytes = 0;
  std::uint64_t wakes = 0;  ///< System calls made only to wake the gateway.
};

/// The VMM's end of a guest's NIC: two bounded rings of Ethernet frames (without checksum), tx from
/// the guest and rx to the guest.
///
/// Threads. The tx calls belong to one thread at a time and the rx calls to one thread at a time;
/// these may be two. No call blocks or takes a lock, and none but wakes makes a system call.
///
/// Wakes. A side that is awake is never woken: a VMM that finds frames each time it looks makes no
/// system call. Before it sleeps, a thread says so, and looks once more:
///
///     // rx thread                               // tx thread, with a frame from the guest
///     for (;;) {                                 while (ring.send(frame) == would_block) {
///       while (!(f = ring.peek()).empty()) {       wait_readable(ring.space_fd());
///         give_to_guest(f);                        ring.clear_space_wake();
///         ring.pop();                            }
///       }                                        if (no more from the guest) ring.flush();
///       if (ring.closed()) return;
///       if (!ring.arm_receive()) continue;
///       wait_readable(ring.frames_fd());
///       ring.clear_frames_wake();
///     }
///
/// Nothing is dropped because a ring is full: the refused side keeps its frame and is woken when
/// there is room. A VMM that is paused just stops to call; nobody spins meanwhile.
///
/// The other end is the Network's. Whichever goes first, the calls stay valid: send() answers
/// `closed`, and frames that had been received can still be taken.
class RingLink {
 public:
  /// Made by Network::attach_ring().
  explicit RingLink(std::shared_ptr<link::RingShared> shared);
  RingLink(const RingLink&) = delete;
  RingLink& operator=(const RingLink&) = delete;
  /// The guest's NIC is unplugged; frames that it sent before still count.
  ~RingLink();

  // tx: from the guest.

  /// Takes a copy of one frame, in pieces. The gateway sees it at once if it is awake, else at the
  /// next flush().
  /// would_block: no room; nothing was taken, what was sent before is flushed, and space_fd()
  /// becomes readable when there is room. invalid_argument: under 14 or over 65550 bytes, the
  /// header that RingOptions::virtio_header asks for not counted. closed: the Network is gone. A
  /// frame that its header does not fit is dropped and counted as malformed.
  [[nodiscard]] StatusCode send(std::span<const iovec> frame);
  /// The end of a batch: wakes the gateway if it sleeps.
  void flush();
  /// Readable when a refused send() may be tried again, or the Network is gone. Owned by this.
  int space_fd() const;
  /// To be called when space_fd() was readable.
  void clear_space_wake();

  // rx: to the guest.

  /// What frames from now on may leave to the guest; nothing at first. Frames that are in the ring
  /// already may leave more to it. Without RingOptions::virtio_header it changes nothing. Any
  /// thread.
  void set_guest_offloads(const GuestOffloads& offloads);

  /// With RingOptions::virtio_header each has its header before it; `num_buffers` in it is 1.
  /// The next frame for the guest; empty if there is none. Stays valid until pop().
  std::span<const std::uint8_t> peek();
  /// Up to `frames.size()` next frames; returns how many. Valid until they are popped.
  std::size_t peek(std::span<std::span<const std::uint8_t>> frames);
  /// Drops the first `count` frames of those that peek() has shown.
  void pop(std::size_t count = 1);
  /// peek(), a copy and pop() in one. Returns the frame's size, 0 if there is none. A frame that
  /// `buffer` can't hold stays, and its size is returned: compare with what was given.
  std::size_t receive(std::span<std::uint8_t> buffer);
  /// Asks for a wake at the next frame. False: there is a frame already, so don't sleep.
  [[nodiscard]] bool arm_receive();
  /// Readable, after arm_receive(), when there are frames or the Network is gone. Owned by this.
  int frames_fd() const;
  /// To be called when frames_fd() was readable.
  void clear_frames_wake();

  /// Whether the Network, or its end of this, is gone.
  bool closed() const;
  /// Not while another thread is inside a call.
  RingCounters counters() const;

 private:
  struct Tx {
    std::uint64_t frames = 0, bytes = 0, refused = 0, wakes = 0;
  };
  struct Rx {
    std::uint64_t frames = 0, bytes = 0, wakes = 0;
    std::size_t popped = 0;  ///< Since the gateway was last told of room.
  };
  void tell_of_room();

  std::shared_ptr<link::RingShared> shared_;
  Tx tx_;
  alignas(128) Rx rx_;
};

}  // namespace sluice
