#pragma once

#include <net/status.h>

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "base/unique_fd.h"
#include "hostd/attach/guest_memory.h"
#include "hostd/attach/vhost_user_message.h"
#include "hostd/attach/virt_queue.h"
#include "link/virtio_net.h"

namespace sluice::hostd {

/// What one connection of a front end has told about a guest's virtio-net device with one pair of
/// queues: features, memory, rings. It only keeps and checks; who moves frames asks it for them.
/// On the loop's thread.
///
/// Buffers are given back in order, so the used index in the guest's memory is all that a successor
/// needs to go on (SET_VRING_BASE); there is no record of buffers in flight.
class VhostUserDevice {
 public:
  static constexpr std::size_t kReceive = 0, kTransmit = 1, kQueues = 2;  ///< Of the guest.

  /// Does what a message asks. The reply's bytes; empty: none. An error names the message, and the
  /// front end is of no more use.
  Result<std::vector<std::uint8_t>> handle(VhostUserMessage message);

  /// Both queues can be used.
  bool running() const;
  /// Grows when they can, can't any more, or can with other features or kicks.
  std::uint64_t changes() const { return changes_; }

  VirtQueue& queue(std::size_t index) { return rings_[index].queue; }
  /// Readable when the guest has added buffers. Owned by this, until the next message.
  int kick(std::size_t index) const { return rings_[index].kick.get(); }
  /// Calls the guest; whether there is a descriptor to do so.
  bool call(std::size_t index) const;
  /// Stops a queue that was found at fault, until the front end starts it anew, and tells it.
  void fail(std::size_t index);
  const GuestMemory& memory() const { return memory_; }

  // What was agreed on.
  link::Offloads guest_offloads() const;
  /// Of the virtio_net_hdr, bytes.
  std::size_t header_size() const;
  /// A frame may take several receive buffers.
  bool merges_buffers() const;

 private:
  struct Ring {
    explicit Ring(VirtQueue::Direction direction) : queue(direction) {}
    VirtQueue queue;
    std::uint16_t size = 0;
    std::uint16_t base = 0;
    std::optional<VringAddress> address;
    std::optional<bool> enabled;  ///< None: as the features have it.
    bool failed = false;
    UniqueFd kick, call, error;
  };

  bool has(unsigned feature) const { return (features_ >> feature & 1) != 0; }
  bool should_run(const Ring& ring) const;
  /// Starts and stops queues as the last message has it.
  Status update();
  Result<VirtQueue::Rings> locate(const Ring& ring) const;
  Result<std::vector<std::uint8_t>> answer(VhostUserMessage& message);
  Status set_features(const VhostUserMessage& message);
  Status set_memory(const VhostUserMessage& message);
  Status set_size(const VhostUserMessage& message);
  Status set_base(const VhostUserMessage& message);
  Status set_address(const VhostUserMessage& message);
  Status set_enabled(const VhostUserMessage& message);
  Result<std::vector<std::uint8_t>> get_base(const VhostUserMessage& message);
  Status set_descriptor(VhostUserMessage& message, UniqueFd Ring::* which);
  Result<VringState> ring_state(const VhostUserMessage& message) const;
  void reset();

  std::uint64_t features_ = 0;
  std::uint64_t protocol_features_ = 0;
  GuestMemory memory_;
  std::array<Ring, kQueues> rings_{Ring(VirtQueue::Direction::to_guest),
                                   Ring(VirtQueue::Direction::from_guest)};
  bool rings_changed_ = false;  ///< Running ones have to be located again.
  std::uint64_t changes_ = 0;
};

}  // namespace sluice::hostd
