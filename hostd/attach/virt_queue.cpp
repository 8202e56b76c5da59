#include "hostd/attach/virt_queue.h"

#include <atomic>
#include <bit>
#include <cstring>
#include <utility>

namespace sluice::hostd {

namespace {

static_assert(std::endian::native == std::endian::little, "virtio is little-endian");

constexpr std::uint16_t kNext = 1, kWrite = 2, kIndirect = 4;
constexpr std::uint16_t kNoInterrupt = 1, kNoNotify = 1;
constexpr std::size_t kDescriptor = 16;
/// In both rings: flags, then the index, then the entries.
constexpr std::size_t kFlagsAt = 0, kIndexAt = 2, kEntriesAt = 4;

/// A 16-bit field that the guest shares; at an even address.
std::atomic_ref<std::uint16_t> field(std::uint8_t* at) {
  return std::atomic_ref<std::uint16_t>(*reinterpret_cast<std::uint16_t*>(at));
}

/// Copies what the guest may change: read here, once, and not where the copy is used.
template <typename T>
T copy_of(const std::uint8_t* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  std::atomic_signal_fence(std::memory_order_seq_cst);
  return value;
}

}  // namespace

void VirtQueue::start(const Rings& rings, std::uint16_t size, std::uint16_t base,
                      const Options& options) {
  rings_ = rings;
  options_ = options;
  size_ = size;
  next_ = seen_ = base;
  used_ = field(rings.used + kIndexAt).load(std::memory_order_relaxed);
  given_back_ = 0;
  told_.reset();
}

Status VirtQueue::fault(const char* what) const {
  return Status(StatusCode::invalid_argument,
                std::string(direction_ == Direction::from_guest ? "transmit" : "receive") +
                    " queue: " + what);
}

std::uint16_t VirtQueue::available_index() const {
  return field(rings_.available + kIndexAt).load(std::memory_order_acquire);
}

Result<std::optional<VirtQueue::Chain>> VirtQueue::pop(const GuestMemory& memory,
                                                       std::vector<iovec>& pieces) {
  if (!running()) return std::optional<Chain>();
  if (next_ == seen_) {
    seen_ = available_index();
    if (next_ == seen_) return std::optional<Chain>();
    if (static_cast<std::uint16_t>(seen_ - next_) > size_) {
      return fault("the available index is further ahead than the queue is long");
    }
  }
  Chain chain;
  chain.head = field(rings_.available + kEntriesAt + std::size_t{2} * (next_ & (size_ - 1)))
                   .load(std::memory_order_relaxed);
  if (chain.head >= size_) return fault("a descriptor's number is beyond the queue");
  if (Status status = walk(memory, pieces, chain); !status) return status;
  ++next_;
  return std::optional<Chain>(chain);
}

Status VirtQueue::walk(const GuestMemory& memory, std::vector<iovec>& pieces, Chain& chain) const {
  const std::uint8_t* table = rings_.descriptors;
  std::size_t entries = size_, index = chain.head;
  bool is_indirect = false;
  // A chain is at most as long as the queue (section 2.7.5.3.1), which also ends loops.
  for (std::size_t left = size_; left > 0;) {
    auto descriptor = copy_of<Descriptor>(table + kDescriptor * index);
    if ((descriptor.flags & kIndirect) != 0) {
      if (!options_.indirect) return fault("an indirect descriptor, which was not agreed on");
      if (is_indirect) return fault("an indirect descriptor in an indirect table");
      if ((descriptor.flags & kNext) != 0) return fault("an indirect descriptor that goes on");
      entries = descriptor.size / kDescriptor;
      if (descriptor.size % kDescriptor != 0 || entries == 0 || entries > kMaxSize) {
        return fault("an indirect table of an impossible size");
      }
      table = memory.at(descriptor.address, descriptor.size);
      if (!table) return fault("an indirect table outside of the guest's memory");
      is_indirect = true;
      index = 0;
      continue;
    }
    if (((descriptor.flags & kWrite) != 0) != (direction_ == Direction::to_guest)) {
      return fault("a buffer of the other direction");
    }
    if (!memory.append(descriptor.address, descriptor.size, pieces)) {
      return fault("a buffer outside of the guest's memory");
    }
    chain.bytes += descriptor.size;
    if ((descriptor.flags & kNext) == 0) return Status::ok();
    index = descriptor.next;
    if (index >= entries) return fault("a chain goes on beyond its table");
    --left;
  }
  return fault("a chain is longer than the queue");
}

void VirtQueue::give_back(const Chain& chain, std::size_t bytes) {
  std::uint32_t entry[] = {chain.head, static_cast<std::uint32_t>(bytes)};
  auto at = static_cast<std::uint16_t>(used_ + given_back_) & (size_ - 1);
  std::memcpy(rings_.used + kEntriesAt + sizeof entry * static_cast<std::size_t>(at), entry,
              sizeof entry);
  ++given_back_;
}

void VirtQueue::publish() {
  if (given_back_ == 0) return;
  used_ = static_cast<std::uint16_t>(used_ + given_back_);
  given_back_ = 0;
  field(rings_.used + kIndexAt).store(used_, std::memory_order_release);
}

bool VirtQueue::wants_call() {
  std::optional<std::uint16_t> before = std::exchange(told_, used_);
  if (!running() || before == used_) return false;
  // The guest writes what it wants and then looks at the index; we the other way round.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (!options_.event_index) {
    return (field(rings_.available + kFlagsAt).load(std::memory_order_relaxed) & kNoInterrupt) == 0;
  }
  if (!before) return true;
  std::uint16_t event =
      field(rings_.available + kEntriesAt + std::size_t{2} * size_).load(std::memory_order_relaxed);
  // Whether the index went past the event (section 2.7.7.2).
  return static_cast<std::uint16_t>(used_ - event - 1) <
         static_cast<std::uint16_t>(used_ - *before);
}

bool VirtQueue::ask_for_kick() {
  if (!running()) return false;
  if (options_.event_index) {
    field(rings_.used + kEntriesAt + std::size_t{8} * size_)
        .store(next_, std::memory_order_relaxed);
  } else {
    field(rings_.used + kFlagsAt).store(0, std::memory_order_relaxed);
  }
  std::atomic_thread_fence(std::memory_order_seq_cst);
  return available_index() != next_;
}

void VirtQueue::refuse_kicks() {
  // With the event index it stays behind, which says the same until the index has gone round.
  if (!running() || options_.event_index) return;
  field(rings_.used + kFlagsAt).store(kNoNotify, std::memory_order_relaxed);
}

}  // namespace sluice::hostd
