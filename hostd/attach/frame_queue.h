#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "link/guest_port.h"
#include "link/virtio_net.h"

namespace sluice::hostd {

/// Linux's IOV_MAX.
inline constexpr std::size_t kMaxIovecs = 1024;

/// Frames that wait for the guest's socket to take them: headers copied, payload by reference where
/// the frame allows it, cut into segments where it asks for it. Bounded in bytes; frames of TCP are
/// refused first, so that there is room for those that nobody would send again.
class FrameQueue {
 public:
  /// What goes before each frame: nothing, its length in 32 bits, big-endian, or a virtio_net_hdr
  /// of 12 bytes.
  enum class Prefix : std::uint8_t { none, length, virtio };

  /// `guest`: what need not be done to frames; only a virtio_net_hdr can say what wasn't.
  explicit FrameQueue(Prefix prefix, const link::Offloads& guest = {})
      : prefix_(prefix), guest_(prefix == Prefix::virtio ? guest : link::Offloads{}) {}
  ~FrameQueue() { clear(); }
  /// For frames from now on.
  void set_guest(const link::Offloads& guest) { guest_ = guest; }
  FrameQueue(const FrameQueue&) = delete;
  FrameQueue& operator=(const FrameQueue&) = delete;

  bool has_room(link::FrameClass frame_class) const;
  /// So much room again that senders who were refused should hear of it.
  bool has_much_room() const;
  /// Enough waits for a system call of its own, before the batch ends.
  bool is_worth_writing() const;

  struct Taken {
    std::size_t frames = 0;  ///< Complete frames, after cutting.
    std::size_t bytes = 0;   ///< Without prefixes.
  };
  /// Takes a frame, whatever room there is. Nothing is taken, but release() called, if the frame
  /// can't be sent: too long, no TCP where it says so, or unread and not for the guest to sum.
  Taken add(const link::RxFrame& frame);

  bool empty() const { return first_ == queue_.size(); }
  std::size_t frames() const { return queue_.size() - first_; }

  /// Writes the pieces of the frame at `index` (less what left of it already) to `out`; their
  /// number, or 0 if there are more than `out` holds. 1024 always suffice.
  std::size_t gather(std::size_t index, std::span<iovec> out);
  /// What follows those pieces.
  const UnreadBytes& unread(std::size_t index) const { return queue_[first_ + index].unread; }
  /// The first frames have left; their payload is released.
  void pop(std::size_t frames);
  /// So many bytes have left, perhaps with the beginning of a frame.
  void pop_bytes(std::size_t bytes);
  /// Releases everything; the number of frames that had not left.
  std::size_t clear();

 private:
  /// With what goes before it. What UDP and ICMP carry is copied, and most of it is this short: it
  /// needs no memory and no piece of its own.
  static constexpr std::size_t kShortFrame = 256;
  static_assert(kShortFrame >= link::VirtioNetHeader::kSize + link::kMaxHead);

  /// A frame with what goes before it. `head` is left as it is when made.
  struct Out {
    Out() {}  // NOLINT(modernize-use-equals-default): that would clear `head`
    std::array<std::uint8_t, kShortFrame> head;  ///< Headers, or all of a short frame.
    std::uint32_t head_size = 0;
    std::uint32_t size = 0;         ///< All of it.
    std::uint32_t first_piece = 0;  ///< In pieces_.
    std::uint32_t pieces = 0;
    std::unique_ptr<std::uint8_t[]> copy;  ///< Payload that is not referred to.
    UnreadBytes unread;
    void (*release)(void*) = nullptr;
    void* owner = nullptr;
  };

  std::size_t prefix_size() const;
  Out& begin();
  void finish(Out& out, const link::RxFrame& frame, std::size_t head_size,
              std::size_t payload_size);
  /// As one frame, which the guest cuts and sums; whether it does.
  bool add_whole(const link::RxFrame& frame);
  void copy_payload(Out& out, std::size_t payload_size);
  void tidy();

  const Prefix prefix_;
  link::Offloads guest_;
  std::vector<Out> queue_;
  std::size_t first_ = 0;  ///< Those before it have left.
  std::vector<iovec> pieces_;
  std::size_t left_of_first_ = 0;  ///< Bytes of the first frame that left already.
  std::size_t bytes_ = 0;
};

}  // namespace sluice::hostd
