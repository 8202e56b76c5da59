#pragma once

#include <net/status.h>
#include <sys/uio.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "hostd/attach/guest_memory.h"

namespace sluice::hostd {

/// A split virtqueue (virtio 1.2 section 2.7), from the device's side. Every index, address and
/// length in it is the guest's and is checked, and what the guest can change meanwhile is read
/// once.
///
/// A fault is an error that names it; nothing more can be had from the queue then, until it is
/// started again. On the loop's thread.
class VirtQueue {
 public:
  enum class Direction : std::uint8_t { from_guest, to_guest };

  /// Where its parts lie here. They stay mapped until stop().
  struct Rings {
    std::uint8_t* descriptors = nullptr;  ///< 16 bytes each, aligned to 16.
    std::uint8_t* available = nullptr;    ///< available_bytes(), aligned to 2.
    std::uint8_t* used = nullptr;         ///< used_bytes(), aligned to 4.
  };
  static constexpr std::size_t kMaxSize = 32768;
  static constexpr std::size_t descriptor_bytes(std::size_t size) { return 16 * size; }
  /// With the event field at the end, which is there whether it is used or not.
  static constexpr std::size_t available_bytes(std::size_t size) { return 6 + 2 * size; }
  static constexpr std::size_t used_bytes(std::size_t size) { return 6 + 8 * size; }

  explicit VirtQueue(Direction direction) : direction_(direction) {}

  struct Options {
    bool event_index = false;  ///< VIRTIO_F_EVENT_IDX
    bool indirect = false;     ///< VIRTIO_F_INDIRECT_DESC
  };
  /// `size` is a power of two up to kMaxSize; `base` the first available index to look at.
  void start(const Rings& rings, std::uint16_t size, std::uint16_t base, const Options& options);
  void stop() { size_ = given_back_ = 0; }
  bool running() const { return size_ != 0; }
  std::uint16_t size() const { return size_; }
  /// The next available index, to start with again.
  std::uint16_t base() const { return next_; }

  /// A buffer of the guest's: pieces in its memory.
  struct Chain {
    std::uint16_t head = 0;
    std::uint64_t bytes = 0;
  };
  /// The next buffer, its pieces appended to `pieces`; nothing if there is none.
  Result<std::optional<Chain>> pop(const GuestMemory& memory, std::vector<iovec>& pieces);
  /// The last `chains` that were popped, and not given back, are available again.
  void unpop(std::uint16_t chains) { next_ = static_cast<std::uint16_t>(next_ - chains); }

  /// Gives a popped buffer back, with `bytes` written to it. The guest sees it after publish().
  void give_back(const Chain& chain, std::size_t bytes);
  /// Lets the guest see what was given back. It may poll for it, or wait for a call.
  void publish();
  /// Whether the guest wants to be called for what was published since this was last asked. After
  /// start() it may, for nobody knows what it was called for before.
  bool wants_call();
  /// How many buffers were published since; after start() as many as the queue has.
  std::uint16_t untold() const {
    return told_ ? static_cast<std::uint16_t>(used_ - *told_) : size_;
  }

  /// Asks to be kicked for the next buffer that becomes available. True: one is already.
  bool ask_for_kick();
  /// No kicks until asked for; some may come all the same.
  void refuse_kicks();

 private:
  struct Descriptor {
    std::uint64_t address;
    std::uint32_t size;
    std::uint16_t flags;
    std::uint16_t next;
  };

  Status walk(const GuestMemory& memory, std::vector<iovec>& pieces, Chain& chain) const;
  std::uint16_t available_index() const;
  Status fault(const char* what) const;

  Direction direction_;
  Rings rings_;
  Options options_;
  std::uint16_t size_ = 0;
  std::uint16_t next_ = 0;             ///< Of the available ring.
  std::uint16_t seen_ = 0;             ///< Its index when last looked at.
  std::uint16_t used_ = 0;             ///< The used ring's index, as published.
  std::uint16_t given_back_ = 0;       ///< Since.
  std::optional<std::uint16_t> told_;  ///< What `used_` was when a call was last considered.
};

}  // namespace sluice::hostd
