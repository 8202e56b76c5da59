#pragma once

#include <atomic>
#include <cstdint>

#include <net/ring.h>

#include "link/frame_pool.h"
#include "link/spsc_ring.h"
#include "link/wake.h"

namespace sluice::link {

/// A frame in a ring: which buffer, how many bytes.
struct RingSlot {
  FramePool::Index buffer = 0;
  std::uint32_t size = 0;
};

/// One direction between the VMM and the loop. The producer sends on `frames` and takes from
/// `pool`; the consumer does the reverse.
struct RingLane {
  RingLane(std::size_t capacity, std::size_t small, std::size_t large)
      : frames(capacity), pool(small, large), large_reserve(large / 16) {}

  SpscRing<RingSlot> frames;
  FramePool pool;
  /// Large buffers that data frames leave to control frames.
  std::size_t large_reserve;
  /// The consumer sleeps until there is a frame.
  alignas(kCacheLine) ArmFlag wants_frames;
  /// The producer was refused and sleeps until there is room.
  alignas(kCacheLine) ArmFlag wants_room;
};

/// What RingPort and RingLink have in common; lives until both are gone and every frame that the
/// loop still refers to.
struct RingShared {
  RingShared(std::size_t tx_frames, std::size_t rx_frames, bool has_headers);

  /// The loop keeps references to frames after it has taken them from the ring, so tx has twice the
  /// small buffers that its ring has places.
  RingLane tx;
  RingLane rx;
  Doorbell loop_bell;             ///< The loop: tx frames, rx room, the VMM's end gone.
  Doorbell frames_bell;           ///< The VMM: rx frames.
  Doorbell space_bell;            ///< The VMM: tx room.
  const std::size_t header_size;  ///< Of the virtio_net_hdr before each frame, or 0.
  std::atomic<GuestOffloads> guest_offloads{};
  static_assert(std::atomic<GuestOffloads>::is_always_lock_free);
  std::atomic<bool> vmm_gone{false};
  std::atomic<bool> port_gone{false};
};

}  // namespace sluice::link
