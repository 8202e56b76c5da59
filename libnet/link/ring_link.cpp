#include <net/ring.h>

#include <algorithm>
#include <cstring>

#include "link/guest_port.h"
#include "link/ring_shared.h"

namespace sluice {

namespace {

constexpr std::size_t kMinFrame = 14;  // an Ethernet header

/// The gateway hears of room after this many frames, or when the ring is empty: told of each, it
/// would wake for each. Small rings have it sooner.
constexpr std::size_t kRoomBatch = 16;

}  // namespace

RingLink::RingLink(std::shared_ptr<link::RingShared> shared) : shared_(std::move(shared)) {}

RingLink::~RingLink() {
  shared_->vmm_gone.store(true, std::memory_order_release);
  shared_->loop_bell.ring();
}

StatusCode RingLink::send(std::span<const iovec> frame) {
  const std::size_t header = shared_->header_size;
  std::size_t size = 0;
  for (const iovec& piece : frame) {
    // Bounded at each piece, so that sizes that overflow are refused too.
    if (piece.iov_len > header + link::kMaxFrame - size) return StatusCode::invalid_argument;
    size += piece.iov_len;
  }
  if (size < header + kMinFrame) return StatusCode::invalid_argument;
  if (closed()) return StatusCode::closed;

  link::RingLane& lane = shared_->tx;
  auto size_class = link::FramePool::size_for(size);
  auto has_room = [&] { return lane.frames.has_room(1) && lane.pool.has(size_class, 1); };
  if (!has_room()) {
    ++tx_.refused;
    flush();
    lane.wants_room.arm();
    if (!has_room()) return closed() ? StatusCode::closed : StatusCode::would_block;
    lane.wants_room.disarm();
  }
  auto buffer = lane.pool.take(size_class);
  if (!buffer) return StatusCode::internal;
  std::uint8_t* out = lane.pool.data(*buffer);
  for (const iovec& piece : frame) {
    if (piece.iov_len == 0) continue;
    std::memcpy(out, piece.iov_base, piece.iov_len);
    out += piece.iov_len;
  }
  lane.frames.push({*buffer, static_cast<std::uint32_t>(size)});
  ++tx_.frames;
  tx_.bytes += size - header;
  return StatusCode::ok;
}

void RingLink::flush() {
  if (!shared_->tx.wants_frames.take()) return;
  ++tx_.wakes;
  shared_->loop_bell.ring();
}

int RingLink::space_fd() const {
  return shared_->space_bell.fd();
}

void RingLink::clear_space_wake() {
  shared_->space_bell.clear();
  shared_->tx.wants_room.disarm();
}

void RingLink::set_guest_offloads(const GuestOffloads& offloads) {
  shared_->guest_offloads.store(offloads, std::memory_order_relaxed);
}

std::span<const std::uint8_t> RingLink::peek() {
  std::span<const std::uint8_t> frame;
  peek({&frame, 1});
  return frame;
}

std::size_t RingLink::peek(std::span<std::span<const std::uint8_t>> frames) {
  link::RingLane& lane = shared_->rx;
  std::size_t count = std::min(lane.frames.available(frames.size()), frames.size());
  for (std::size_t i = 0; i < count; ++i) {
    const link::RingSlot& slot = lane.frames.peek(i);
    frames[i] = {lane.pool.data(slot.buffer), slot.size};
  }
  return count;
}

void RingLink::pop(std::size_t count) {
  link::RingLane& lane = shared_->rx;
  count = std::min(count, lane.frames.available(count));
  for (std::size_t i = 0; i < count; ++i) {
    const link::RingSlot& slot = lane.frames.peek(i);
    rx_.bytes += slot.size - shared_->header_size;
    lane.pool.give_back(slot.buffer);
  }
  lane.frames.pop(count);
  rx_.frames += count;
  rx_.popped += count;
  std::size_t batch = std::min(kRoomBatch, lane.frames.capacity() / 4);
  if (rx_.popped >= batch || lane.frames.available() == 0) tell_of_room();
}

void RingLink::tell_of_room() {
  rx_.popped = 0;
  if (!shared_->rx.wants_room.take()) return;
  ++rx_.wakes;
  shared_->loop_bell.ring();
}

std::size_t RingLink::receive(std::span<std::uint8_t> buffer) {
  std::span<const std::uint8_t> frame = peek();
  if (frame.empty() || frame.size() > buffer.size()) return frame.size();
  std::memcpy(buffer.data(), frame.data(), frame.size());
  std::size_t size = frame.size();
  pop();
  return size;
}

bool RingLink::arm_receive() {
  link::RingLane& lane = shared_->rx;
  if (lane.frames.available() > 0) return false;
  lane.wants_frames.arm();
  if (lane.frames.available() == 0) return true;
  lane.wants_frames.disarm();
  return false;
}

int RingLink::frames_fd() const {
  return shared_->frames_bell.fd();
}

void RingLink::clear_frames_wake() {
  shared_->frames_bell.clear();
  shared_->rx.wants_frames.disarm();
}

bool RingLink::closed() const {
  return shared_->port_gone.load(std::memory_order_acquire);
}

RingCounters RingLink::counters() const {
  return {.tx_frames = tx_.frames,
          .tx_bytes = tx_.bytes,
          .tx_refused = tx_.refused,
          .rx_frames = rx_.frames,
          .rx_bytes = rx_.bytes,
          .wakes = tx_.wakes + rx_.wakes};
}

}  // namespace sluice
