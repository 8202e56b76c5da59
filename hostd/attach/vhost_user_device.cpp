#include "hostd/attach/vhost_user_device.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bit>
#include <utility>

namespace sluice::hostd {

namespace {

// Feature bits: virtio 1.2 sections 5.1.3 and 6, and vhost-user's own.
constexpr unsigned kChecksum = 0, kGuestChecksum = 1, kGuestTso4 = 7, kGuestTso6 = 8, kGuestEcn = 9,
                   kHostTso4 = 11, kHostTso6 = 12, kHostEcn = 13, kMergedBuffers = 15,
                   kIndirect = 28, kEventIndex = 29, kProtocolFeatures = 30, kVersion1 = 32,
                   kHostUso = 56;
constexpr std::uint64_t bits(std::initializer_list<unsigned> features) {
  std::uint64_t out = 0;
  for (unsigned feature : features) out |= std::uint64_t{1} << feature;
  return out;
}
constexpr std::uint64_t kFeatures = bits(
    {kChecksum, kGuestChecksum, kGuestTso4, kGuestTso6, kGuestEcn, kHostTso4, kHostTso6, kHostEcn,
     kMergedBuffers, kIndirect, kEventIndex, kProtocolFeatures, kVersion1, kHostUso});

constexpr unsigned kReplyAck = 3, kResetDevice = 13;
constexpr std::uint64_t kOfferedProtocol = bits({kReplyAck, kResetDevice});

/// Of set_vring_kick, _call and _err: the ring, and whether no descriptor comes along.
constexpr std::uint64_t kRingMask = 0xff, kNoDescriptor = 0x100;

Status bad(const VhostUserMessage& message, const std::string& why) {
  return Status(StatusCode::invalid_argument,
                fmt::format("{}: {}", to_string(message.header.request), why));
}

/// Whether it may be an eventfd: what is neither file, pipe nor socket.
bool may_be_eventfd(int fd) {
  struct stat info;
  return ::fstat(fd, &info) == 0 && (info.st_mode & S_IFMT) == 0;
}

/// The VMM's descriptor is the same, and it only writes to a kick.
bool set_non_blocking(int fd) {
  int flags = ::fcntl(fd, F_GETFL);
  return flags >= 0 && ::fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0;
}

bool signal_eventfd(int fd) {
  std::uint64_t one = 1;
  return ::write(fd, &one, sizeof one) == sizeof one;
}

template <typename T>
bool is_aligned(const std::uint8_t* pointer) {
  return reinterpret_cast<std::uintptr_t>(pointer) % alignof(T) == 0;
}

}  // namespace

Result<std::vector<std::uint8_t>> VhostUserDevice::handle(VhostUserMessage message) {
  auto reply = answer(message);
  if (!reply) return reply;
  if (Status status = update(); !status) return bad(message, status.message());
  bool acknowledges = (protocol_features_ >> kReplyAck & 1) != 0 && message.header.needs_reply;
  if (reply->empty() && acknowledges) return vhost_user_reply(message.header.request, 0);
  return reply;
}

Result<std::vector<std::uint8_t>> VhostUserDevice::answer(VhostUserMessage& message) {
  auto done = [](Status status) -> Result<std::vector<std::uint8_t>> {
    if (!status) return status;
    return std::vector<std::uint8_t>();
  };
  switch (message.header.request) {
    case VhostUserRequest::get_features:
      return vhost_user_reply(message.header.request, kFeatures);
    case VhostUserRequest::set_features:
      return done(set_features(message));
    case VhostUserRequest::get_protocol_features:
      return vhost_user_reply(message.header.request, kOfferedProtocol);
    case VhostUserRequest::set_protocol_features: {
      auto value = message.number();
      if (!value) return value.status();
      if ((*value & ~kOfferedProtocol) != 0) return bad(message, "some were not offered");
      protocol_features_ = *value;
      return done(Status::ok());
    }
    case VhostUserRequest::get_queue_num:
      return vhost_user_reply(message.header.request, 1);
    case VhostUserRequest::set_owner:
      return done(Status::ok());
    case VhostUserRequest::reset_owner:
    case VhostUserRequest::reset_device:
      reset();
      return done(Status::ok());
    case VhostUserRequest::set_mem_table:
      return done(set_memory(message));
    case VhostUserRequest::set_vring_num:
      return done(set_size(message));
    case VhostUserRequest::set_vring_addr:
      return done(set_address(message));
    case VhostUserRequest::set_vring_base:
      return done(set_base(message));
    case VhostUserRequest::get_vring_base:
      return get_base(message);
    case VhostUserRequest::set_vring_kick:
      return done(set_descriptor(message, &Ring::kick));
    case VhostUserRequest::set_vring_call:
      return done(set_descriptor(message, &Ring::call));
    case VhostUserRequest::set_vring_err:
      return done(set_descriptor(message, &Ring::error));
    case VhostUserRequest::set_vring_enable:
      return done(set_enabled(message));
  }
  return bad(message, "it was not agreed on");
}

Status VhostUserDevice::set_features(const VhostUserMessage& message) {
  auto value = message.number();
  if (!value) return value.status();
  if ((*value & ~kFeatures) != 0) {
    return bad(message, fmt::format("{:#x} was not offered", *value & ~kFeatures));
  }
  if (std::exchange(features_, *value) != *value) {
    rings_changed_ = true;
    ++changes_;
  }
  return Status::ok();
}

Status VhostUserDevice::set_memory(const VhostUserMessage& message) {
  auto regions = message.memory_regions();
  if (!regions) return regions.status();
  auto memory = GuestMemory::map(*regions, message.fds);
  if (!memory) return bad(message, memory.status().message());
  memory_ = std::move(*memory);
  rings_changed_ = true;
  return Status::ok();
}

Result<VringState> VhostUserDevice::ring_state(const VhostUserMessage& message) const {
  auto state = message.vring_state();
  if (!state) return state;
  if (state->index >= kQueues) return bad(message, fmt::format("ring {}", state->index));
  return state;
}

Status VhostUserDevice::set_size(const VhostUserMessage& message) {
  auto state = ring_state(message);
  if (!state) return state.status();
  if (!std::has_single_bit(state->value) || state->value > VirtQueue::kMaxSize) {
    return bad(message, fmt::format("a queue of {}", state->value));
  }
  Ring& ring = rings_[state->index];
  if (ring.queue.running()) return bad(message, "the ring runs");
  ring.size = static_cast<std::uint16_t>(state->value);
  return Status::ok();
}

Status VhostUserDevice::set_base(const VhostUserMessage& message) {
  auto state = ring_state(message);
  if (!state) return state.status();
  Ring& ring = rings_[state->index];
  if (ring.queue.running()) return bad(message, "the ring runs");
  if (state->value > 0xffff) return bad(message, fmt::format("an index of {}", state->value));
  ring.base = static_cast<std::uint16_t>(state->value);
  ring.failed = false;
  return Status::ok();
}

Status VhostUserDevice::set_address(const VhostUserMessage& message) {
  auto address = message.vring_address();
  if (!address) return address.status();
  if (address->index >= kQueues) return bad(message, fmt::format("ring {}", address->index));
  if ((address->flags & 1) != 0) return bad(message, "a log, which was not offered");
  rings_[address->index].address = *address;
  rings_changed_ = true;
  return Status::ok();
}

Status VhostUserDevice::set_enabled(const VhostUserMessage& message) {
  auto state = ring_state(message);
  if (!state) return state.status();
  rings_[state->index].enabled = state->value != 0;
  return Status::ok();
}

Result<std::vector<std::uint8_t>> VhostUserDevice::get_base(const VhostUserMessage& message) {
  auto state = ring_state(message);
  if (!state) return state.status();
  Ring& ring = rings_[state->index];
  if (ring.queue.running()) ring.base = ring.queue.base();
  // It stops by this, and starts with its next kick.
  ring.kick.reset();
  ring.failed = false;
  return vhost_user_reply(message.header.request, VringState{state->index, ring.base});
}

Status VhostUserDevice::set_descriptor(VhostUserMessage& message, UniqueFd Ring::* which) {
  auto value = message.number();
  if (!value) return value.status();
  std::uint64_t index = *value & kRingMask;
  if (index >= kQueues) return bad(message, fmt::format("ring {}", index));
  bool none = (*value & kNoDescriptor) != 0;
  if (message.fds.size() != (none ? 0 : 1)) return bad(message, "its descriptor is missing");
  bool is_kick = which == &Ring::kick;
  if (none && is_kick) return bad(message, "a ring without kicks would have to be polled");
  // A kick that nobody waits for makes us look at what is in the ring already. Others get none,
  // and none is read back: they may be connected to an interrupt.
  if (!none && (!may_be_eventfd(message.fds[0].get()) ||
                (is_kick && !(set_non_blocking(message.fds[0].get()) &&
                              signal_eventfd(message.fds[0].get()))))) {
    return bad(message, "this is no eventfd");
  }
  Ring& ring = rings_[index];
  ring.*which = none ? UniqueFd() : std::move(message.fds[0]);
  if (is_kick) ++changes_;
  return Status::ok();
}

void VhostUserDevice::reset() {
  for (Ring& ring : rings_) {
    if (ring.queue.running()) ring.base = ring.queue.base();
    ring.kick.reset();
    ring.enabled.reset();
    ring.failed = false;
  }
}

bool VhostUserDevice::should_run(const Ring& ring) const {
  return ring.size != 0 && ring.address && ring.kick && !ring.failed && !memory_.empty() &&
         ring.enabled.value_or(!has(kProtocolFeatures));
}

Result<VirtQueue::Rings> VhostUserDevice::locate(const Ring& ring) const {
  VirtQueue::Rings out{
      memory_.at_user(ring.address->descriptors, VirtQueue::descriptor_bytes(ring.size)),
      memory_.at_user(ring.address->available, VirtQueue::available_bytes(ring.size)),
      memory_.at_user(ring.address->used, VirtQueue::used_bytes(ring.size))};
  struct alignas(16) Descriptor {};
  if (!out.descriptors || !out.available || !out.used) {
    return Status(StatusCode::invalid_argument, "a ring lies outside of the guest's memory");
  }
  if (!is_aligned<Descriptor>(out.descriptors) || !is_aligned<std::uint16_t>(out.available) ||
      !is_aligned<std::uint32_t>(out.used)) {
    return Status(StatusCode::invalid_argument, "a ring is not aligned");
  }
  return out;
}

Status VhostUserDevice::update() {
  bool moved = std::exchange(rings_changed_, false);
  for (Ring& ring : rings_) {
    bool runs = ring.queue.running(), should = should_run(ring);
    if (runs == should && !(runs && moved)) continue;
    if (runs) ring.base = ring.queue.base();
    ring.queue.stop();
    if (runs != should) ++changes_;
    if (!should) continue;
    auto rings = locate(ring);
    if (!rings) {
      // The other may lie in memory that is gone.
      for (Ring& other : rings_) other.queue.stop();
      return rings.status();
    }
    ring.queue.start(*rings, ring.size, ring.base,
                     {.event_index = has(kEventIndex), .indirect = has(kIndirect)});
  }
  return Status::ok();
}

bool VhostUserDevice::running() const {
  return rings_[kReceive].queue.running() && rings_[kTransmit].queue.running();
}

bool VhostUserDevice::call(std::size_t index) const {
  return rings_[index].call && signal_eventfd(rings_[index].call.get());
}

void VhostUserDevice::fail(std::size_t index) {
  Ring& ring = rings_[index];
  ring.base = ring.queue.base();
  ring.queue.stop();
  ring.failed = true;
  ++changes_;
  if (ring.error) signal_eventfd(ring.error.get());
}

link::Offloads VhostUserDevice::guest_offloads() const {
  return {.checksum = has(kGuestChecksum),
          .tcp4 = has(kGuestTso4),
          .tcp6 = has(kGuestTso6),
          .tcp_ecn = has(kGuestEcn)};
}

std::size_t VhostUserDevice::header_size() const {
  return has(kVersion1) || has(kMergedBuffers) ? link::VirtioNetHeader::kSize
                                               : link::VirtioNetHeader::kLegacySize;
}

bool VhostUserDevice::merges_buffers() const {
  return has(kMergedBuffers);
}

}  // namespace sluice::hostd
