#pragma once

#include <memory>
#include <optional>
#include <vector>

#include <net/ring.h>
#include <net/status.h>

#include "base/loop.h"
#include "link/guest_port.h"
#include "link/segmenter.h"
#include "link/virtio_net.h"

namespace sluice::link {

struct RingShared;
struct RingSlot;
class RingTxBuffers;

/// The gateway's end of a pair of frame rings; the VMM's end is RingLink. Frames from the guest are
/// handed up where they lie, frames for the guest are copied once into the ring's buffers, by
/// the kernel where nobody has read them.
///
/// A place in 16 of the rx ring, and of its large buffers, is kept for FrameClass::control. A frame
/// that is cut takes as many places as it has segments, all or none; so that every frame fits into
/// an empty ring, segments are at least an eighth of the rx ring's places to the largest payload
/// (512 bytes at 1024 places), even where the guest asked for smaller ones.
class RingPort final : public GuestPort {
 public:
  struct Pair {
    std::unique_ptr<RingPort> port;  ///< The loop's thread's.
    std::unique_ptr<RingLink> link;  ///< The VMM's.
  };
  static constexpr std::size_t kMinFrames = 16;
  /// On the loop's thread. invalid_argument: sizes out of range; exhausted: descriptors, memory.
  static Result<Pair> make(Loop& loop, const RingOptions& options);
  /// From this many rx places on, no frame is longer than a guest with that MTU can take.
  static std::size_t least_rx_frames(std::size_t mtu);

  RingPort(Loop& loop, std::shared_ptr<RingShared> shared);
  ~RingPort() override;

  void set_handler(PortHandler* handler) override;
  SendResult send(const RxFrame& frame, FrameClass frame_class) override;
  void flush() override;
  bool takes_unread() const override;
  std::size_t max_mtu() const override;
  PortCounters counters() const override { return counters_; }

  /// Frames that the guest sent and that are still referred to.
  std::size_t held_buffers() const;

 private:
  friend class RingTxBuffers;

  bool reserve(std::size_t frames, std::size_t frame_size, FrameClass frame_class);
  /// The frame's header, and its headers in `head`, where the guest takes it whole.
  std::optional<VirtioNetHeader> left_to_guest(const RxFrame& frame, Bytes head) const;
  SendResult send_read(const RxFrame& frame, FrameClass frame_class);
  /// `payload_size` has the size of `unread` in it.
  void put(const VirtioNetHeader& header, ConstBytes head, std::span<const iovec> payload,
           std::size_t payload_size, const UnreadBytes& unread = {});

  void on_bell();
  void turn();
  void turn_later();
  bool deliver_frames();
  void tell_of_room();
  void report_room();
  void lose_guest();

  Loop& loop_;
  std::shared_ptr<RingShared> shared_;
  std::unique_ptr<RingTxBuffers> tx_buffers_;
  std::shared_ptr<bool> alive_;
  PortHandler* handler_ = nullptr;
  PortCounters counters_;
  std::vector<TxFrame> frames_;  ///< The batch that is handed up; kept for its memory.
  std::vector<iovec> pieces_;    ///< Of the segment being cut; likewise.
  std::size_t least_segment_;
  bool refused_ = false;
  bool turn_due_ = false;
  bool link_told_ = false;   ///< on_port_link(true) has been called.
  bool guest_lost_ = false;  ///< on_port_link(false) has been called.
  std::unique_ptr<FdWatch> watch_;
};

}  // namespace sluice::link
