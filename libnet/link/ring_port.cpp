#include "link/ring_port.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "link/ring_shared.h"
#include "link/ring_tx_buffers.h"
#include "link/virtio_frame.h"

namespace sluice::link {

namespace {

/// Frames handed up in one turn; then others of the loop have theirs.
constexpr std::size_t kBatch = 64;
/// One place in this many is kept for control frames.
constexpr std::size_t kReserveShare = 16;
constexpr std::size_t kMaxRing = 65536;
constexpr std::size_t kMaxIpPacket = 65535;

bool in_range(std::size_t frames) {
  return frames >= RingPort::kMinFrames && frames <= kMaxRing;
}

/// A cut frame takes at most an eighth of the places, so this many hold it beside the reserve.
std::size_t large_buffers(std::size_t frames) {
  return std::bit_ceil(frames) / 4;
}

}  // namespace

RingShared::RingShared(std::size_t tx_frames, std::size_t rx_frames, bool has_headers)
    : tx(tx_frames, 2 * std::bit_ceil(tx_frames), large_buffers(tx_frames)),
      rx(rx_frames, std::bit_ceil(rx_frames), large_buffers(rx_frames)),
      header_size(has_headers ? VirtioNetHeader::kSize : 0) {}

Result<RingPort::Pair> RingPort::make(Loop& loop, const RingOptions& options) {
  if (!in_range(options.tx_frames) || !in_range(options.rx_frames)) {
    return Status(StatusCode::invalid_argument, "a ring holds 16 to 65536 frames");
  }
  auto shared =
      std::make_shared<RingShared>(options.tx_frames, options.rx_frames, options.virtio_header);
  for (const FramePool* pool : {&shared->tx.pool, &shared->rx.pool}) {
    if (Status status = pool->status(); !status) return status;
  }
  for (Doorbell* bell : {&shared->loop_bell, &shared->frames_bell, &shared->space_bell}) {
    auto made = Doorbell::create(options.wake);
    if (!made) return made.status();
    *bell = std::move(*made);
  }
  auto port = std::make_unique<RingPort>(loop, shared);
  if (!port->watch_) return Status(StatusCode::internal, "the loop can't watch a wake descriptor");
  return Pair{std::move(port), std::make_unique<RingLink>(std::move(shared))};
}

std::size_t RingPort::least_rx_frames(std::size_t mtu) {
  constexpr std::size_t kHeaders = 40 + 20;  // IPv6, TCP
  return 8 * (kMaxIpPacket / (mtu - kHeaders) + 1);
}

RingPort::RingPort(Loop& loop, std::shared_ptr<RingShared> shared)
    : loop_(loop),
      shared_(std::move(shared)),
      tx_buffers_(std::make_unique<RingTxBuffers>(shared_, *this)),
      alive_(std::make_shared<bool>(true)),
      least_segment_(kMaxIpPacket / (shared_->rx.frames.capacity() / 8) + 1),
      watch_(
          loop.watch(shared_->loop_bell.fd(), {.readable = true}, [this](FdReady) { on_bell(); })) {
  turn_later();
}

RingPort::~RingPort() {
  *alive_ = false;
  watch_.reset();
  RingTxBuffers::let_go(std::move(tx_buffers_));
  shared_->port_gone.store(true, std::memory_order_release);
  shared_->frames_bell.ring();
  shared_->space_bell.ring();
}

std::size_t RingPort::held_buffers() const {
  return tx_buffers_->held();
}

std::size_t RingPort::max_mtu() const {
  return kMaxIpPacket;
}

void RingPort::set_handler(PortHandler* handler) {
  handler_ = handler;
  link_told_ = false;
  turn_later();
}

// To the guest.

bool RingPort::takes_unread() const {
  if (shared_->header_size == 0) return false;
  auto guest = shared_->guest_offloads.load(std::memory_order_relaxed);
  return guest.checksum && guest.tcp4 && guest.tcp6;
}

bool RingPort::reserve(std::size_t frames, std::size_t frame_size, FrameClass frame_class) {
  RingLane& lane = shared_->rx;
  auto size_class = FramePool::size_for(shared_->header_size + frame_size);
  bool may_use_all = frame_class == FrameClass::control;
  std::size_t places = may_use_all ? 0 : lane.frames.capacity() / kReserveShare;
  std::size_t buffers =
      size_class == FramePool::Size::large && !may_use_all ? lane.large_reserve : 0;
  return lane.frames.has_room(frames + places) && lane.pool.has(size_class, frames + buffers);
}

SendResult RingPort::send(const RxFrame& frame, FrameClass frame_class) {
  RingLane& lane = shared_->rx;
  std::array<std::uint8_t, kMaxHead> head;
  auto left = left_to_guest(frame, head);
  if (frame.unread && !left) return send_read(frame, frame_class);
  std::optional<Segmenter> segmenter;
  if (frame.offload == Offload::tcp && !left) segmenter = Segmenter::make(frame, least_segment_);
  std::size_t frames = segmenter ? segmenter->count() : 1;
  std::size_t size = segmenter ? segmenter->full_frame() : frame.head.size() + frame.payload_size;
  bool unusable = size > kMaxFrame || (frame.offload == Offload::tcp && !segmenter && !left);

  if (guest_lost_ || unusable) {
    counters_.rx_lost += frames;
  } else {
    if (!reserve(frames, size, frame_class)) {
      lane.wants_room.arm();
      if (!reserve(frames, size, frame_class)) {
        ++counters_.rx_refused;
        refused_ = true;
        return SendResult::full;
      }
      lane.wants_room.disarm();
      // Whoever was refused before has to hear of the room all the same.
      if (refused_) turn_later();
    }
    constexpr VirtioNetHeader kNothingLeft{.buffers = 1};
    if (segmenter) {
      pieces_.clear();
      while (auto cut = segmenter->next(head, pieces_)) {
        put(kNothingLeft, ConstBytes(head).first(cut->head_size), pieces_, cut->payload_size);
        pieces_.clear();
      }
    } else if (left) {
      put(*left, ConstBytes(head).first(frame.head.size()), frame.payload, frame.payload_size,
          frame.unread);
    } else {
      put(kNothingLeft, frame.head, frame.payload, frame.payload_size);
    }
  }
  if (frame.release) frame.release(frame.owner);
  return SendResult::sent;
}

SendResult RingPort::send_read(const RxFrame& frame, FrameClass frame_class) {
  // The guest takes less than when the frame was made, or no frame with this flag uncut.
  std::vector<std::uint8_t> bytes(frame.unread.size);
  const iovec piece{bytes.data(), bytes.size()};
  RxFrame read = frame;
  if (frame.unread.copy_to({&piece, 1})) {
    std::vector<iovec> payload(frame.payload.begin(), frame.payload.end());
    payload.push_back(piece);
    read.payload = payload;
    read.unread = {};
    return send(read, frame_class);
  }
  ++counters_.rx_lost;
  if (frame.release) frame.release(frame.owner);
  return SendResult::sent;
}

std::optional<VirtioNetHeader> RingPort::left_to_guest(const RxFrame& frame, Bytes head) const {
  if (shared_->header_size == 0 || frame.offload != Offload::tcp) return std::nullopt;
  auto [checksum, tcp4, tcp6, tcp_ecn] = shared_->guest_offloads.load(std::memory_order_relaxed);
  if (!checksum) return std::nullopt;
  return leave_to_guest(frame, {.checksum = true, .tcp4 = tcp4, .tcp6 = tcp6, .tcp_ecn = tcp_ecn},
                        head);
}

void RingPort::put(const VirtioNetHeader& header, ConstBytes head, std::span<const iovec> payload,
                   std::size_t payload_size, const UnreadBytes& unread) {
  RingLane& lane = shared_->rx;
  std::size_t size = head.size() + payload_size;
  auto size_class = FramePool::size_for(shared_->header_size + size);
  auto buffer = lane.pool.take(size_class);
  if (!buffer) {
    ++counters_.rx_lost;
    return;
  }
  std::uint8_t* out = lane.pool.data(*buffer);
  if (shared_->header_size > 0) header.write({out, shared_->header_size});
  out += shared_->header_size;
  std::memcpy(out, head.data(), head.size());
  out += head.size();
  for (const iovec& piece : payload) {
    std::size_t n = std::min(piece.iov_len, payload_size);
    if (n > 0) std::memcpy(out, piece.iov_base, n);
    out += n;
    payload_size -= n;
  }
  if (unread) {
    const iovec rest{out, unread.size};
    if (!unread.copy_to({&rest, 1})) {
      lane.pool.untake(*buffer);
      ++counters_.rx_lost;
      return;
    }
    payload_size -= unread.size;
  }
  std::size_t written = shared_->header_size + size - payload_size;
  lane.frames.push({*buffer, static_cast<std::uint32_t>(written)});
  ++counters_.rx_frames;
  counters_.rx_bytes += size;
}

void RingPort::flush() {
  if (!shared_->rx.wants_frames.take()) return;
  ++counters_.wakes;
  shared_->frames_bell.ring();
}

// From the guest.

void RingPort::on_bell() {
  shared_->loop_bell.clear();
  shared_->tx.wants_frames.disarm();
  turn();
}

void RingPort::turn_later() {
  if (turn_due_) return;
  turn_due_ = true;
  loop_.defer([this, alive = alive_] {
    if (!*alive) return;
    turn_due_ = false;
    turn();
  });
}

void RingPort::turn() {
  auto alive = alive_;
  if (handler_ && !link_told_ && !guest_lost_) {
    link_told_ = true;
    handler_->on_port_link(true);
    if (!*alive) return;
  }
  bool more = deliver_frames();
  if (!*alive) return;
  tell_of_room();
  report_room();
  if (!*alive) return;
  if (more) {
    // Looked at again before the loop sleeps: a VMM that goes on sending needs no wake.
    turn_later();
    return;
  }
  // Read before the last look at the ring: what the VMM sent before it went is not lost.
  bool gone = shared_->vmm_gone.load(std::memory_order_acquire);
  shared_->tx.wants_frames.arm();
  if (handler_ && shared_->tx.frames.available() > 0) {
    shared_->tx.wants_frames.disarm();
    turn_later();
  } else if (gone && !guest_lost_ && handler_) {
    lose_guest();
  }
}

bool RingPort::deliver_frames() {
  RingLane& lane = shared_->tx;
  if (!handler_) return false;
  std::size_t count = std::min(lane.frames.available(kBatch), kBatch);
  if (count == 0) return false;
  const std::size_t header = shared_->header_size;
  for (std::size_t i = 0; i < count; ++i) {
    const RingSlot& slot = lane.frames.peek(i);
    Bytes frame(lane.pool.data(slot.buffer), slot.size);
    BufferRef buffer = tx_buffers_->hold(slot.buffer);
    if (header == 0) {
      frames_.push_back({.bytes = frame, .buffer = std::move(buffer)});
    } else if (!add_virtio_frame(frame.first(header), frame.subspan(header), buffer, frames_)) {
      ++counters_.tx_malformed;
      continue;
    }
    counters_.tx_bytes += slot.size - header;
    ++counters_.tx_frames;
  }
  lane.frames.pop(count);
  // The handler may destroy this.
  std::vector<TxFrame> frames = std::move(frames_);
  auto alive = alive_;
  if (!frames.empty()) handler_->on_frames(frames);
  if (!*alive) return false;
  frames_ = std::move(frames);
  frames_.clear();
  return true;
}

void RingPort::tell_of_room() {
  if (!shared_->tx.wants_room.take()) return;
  ++counters_.wakes;
  shared_->space_bell.ring();
}

void RingPort::report_room() {
  if (!refused_ || !handler_ || shared_->rx.wants_room.is_armed()) return;
  refused_ = false;
  handler_->on_port_space();
}

void RingPort::lose_guest() {
  auto alive = alive_;
  guest_lost_ = true;
  counters_.rx_lost += counters_.rx_frames - shared_->rx.frames.popped();
  shared_->rx.wants_room.disarm();
  handler_->on_port_link(false);
  // Frames are taken again from here on, and lost.
  if (*alive) report_room();
}

}  // namespace sluice::link
