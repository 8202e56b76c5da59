#include "hostd/attach/vhost_user_port.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/log.h"
#include "base/pieces.h"
#include "link/slab.h"
#include "link/virtio_frame.h"

namespace sluice::hostd {

namespace {

/// Buffers of the guest's that are taken in one batch.
constexpr int kBatch = 64;
/// Where the header before a frame begins: IP is then aligned to 4.
constexpr std::size_t kAlign = 16, kOffset = 2;
/// What is copied of a frame whose end is lent: all headers, as far as TCP's are usual.
constexpr std::size_t kLentHead = 192;
/// Shorter frames are copied: that costs less than pieces of their own.
constexpr std::size_t kLeastLent = 8192;
/// And so are those in pieces shorter than this on average, as each costs as a segment does.
constexpr std::size_t kLeastPiece = 1024;
/// A batch ends once so much is lent: the guest can fill other buffers meanwhile.
constexpr std::size_t kMostLent = 2 << 20;
constexpr std::size_t kLeastRoom = kOffset + link::VirtioNetHeader::kSize + link::kMaxFrame;

UniqueFd duplicate(int fd) {
  return UniqueFd(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
}

/// Makes us look at a queue though nobody kicks for what is there already.
void kick_ourselves(int kick) {
  std::uint64_t one = 1;
  static_cast<void>(!::write(kick, &one, sizeof one));
}

}  // namespace

VhostUserPort::VhostUserPort(Loop& loop, UniqueFd listener, OnClosed on_gone)
    : FdPort(loop, FrameQueue::Prefix::virtio),
      on_gone_(std::move(on_gone)),
      listener_(std::move(listener)),
      alive_(std::make_shared<bool>(true)) {
  listener_watch_ = loop.watch(listener_.get(), {.readable = true, .writable = false},
                               [this](FdReady) { accept(); });
}

VhostUserPort::~VhostUserPort() {
  *alive_ = false;
}

bool VhostUserPort::takes_unread() const {
  const link::Offloads& guest = device_.guest_offloads();
  return has_link() && guest.checksum && guest.tcp4 && guest.tcp6;
}

void VhostUserPort::accept() {
  while (true) {
    UniqueFd socket(::accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!socket) {
      if (errno == EINTR || errno == ECONNABORTED) continue;
      return;
    }
    // Its predecessor may be gone, and not read to its end yet.
    if (channel_) read_messages();
    if (channel_) {
      log(LogLevel::warn, "a second VMM connected and was closed: this hostd serves one");
      continue;
    }
    log(LogLevel::info, "VMM connected");
    channel_ = std::make_unique<VhostUserChannel>(std::move(socket));
    channel_watch_ = loop_.watch(channel_->fd(), {.readable = true, .writable = false},
                                 [this](FdReady) { read_messages(); });
  }
}

void VhostUserPort::read_messages() {
  while (channel_) {
    auto message = channel_->receive();
    if (!message) return disconnect(message.status().message());
    if (!*message) return;
    auto reply = device_.handle(std::move(**message));
    if (!reply) return disconnect(reply.status().message());
    // Before the reply: who has it may take its memory back.
    follow_device();
    if (reply->empty()) continue;
    if (Status status = channel_->send(*reply); !status) return disconnect(status.message());
  }
}

void VhostUserPort::disconnect(const std::string& why) {
  log(LogLevel::info, "VMM's connection ends: {}", why);
  close("the VMM is gone");
  if (receive_watch_) receive_watch_->set_interest({});
  device_ = VhostUserDevice();
  followed_ = 0;
  // The watch may be the one that is calling, so it goes later, and its descriptor after it.
  channel_watch_->set_interest({});
  std::shared_ptr<VhostUserChannel> channel(std::move(channel_));
  std::shared_ptr<FdWatch> watch(std::move(channel_watch_));
  loop_.defer([this, alive = alive_, channel, watch]() mutable {
    watch.reset();
    channel.reset();
    if (*alive && on_gone_) on_gone_();
  });
}

void VhostUserPort::follow_device() {
  if (std::exchange(followed_, device_.changes()) == device_.changes()) return;
  if (!device_.running()) return close("the guest or its VMM stopped the queues");
  queue_.set_guest(device_.guest_offloads());
  receive_watch_.reset();
  receive_kick_ = duplicate(device_.kick(VhostUserDevice::kReceive));
  begin(duplicate(device_.kick(VhostUserDevice::kTransmit)));
  receive_watch_ = loop_.watch(receive_kick_.get(), {.readable = true, .writable = false},
                               [this](FdReady) { on_receive_kick(); });
  kick_ourselves(fd_.get());
  log(LogLevel::info, "the guest's queues run; it takes: {}", to_string(device_.guest_offloads()));
  link_up();
}

bool VhostUserPort::drain(int kick) {
  std::uint64_t count;
  return ::read(kick, &count, sizeof count) == sizeof count || errno == EAGAIN || errno == EINTR;
}

void VhostUserPort::fail(std::size_t queue, const Status& status) {
  log(LogLevel::warn, "the guest's virtio queues are at fault and stop: {}", status.message());
  device_.fail(queue);
  followed_ = device_.changes();
  if (receive_watch_) receive_watch_->set_interest({});
  close("its queues are at fault");
}

void VhostUserPort::on_receive_kick() {
  if (!drain(receive_kick_.get())) {
    return fail(VhostUserDevice::kReceive, Status::from_errno(errno, "read its kick"));
  }
  unblock();
}

void VhostUserPort::publish(std::size_t queue) {
  device_.queue(queue).publish();
  if (device_.queue(queue).wants_call() && device_.call(queue)) ++counters_.wakes;
}

bool VhostUserPort::read_frames() {
  link::Slab::make_room(slab_, slab_end_, kLeastRoom);
  VirtQueue& queue = device_.queue(VhostUserDevice::kTransmit);
  queue.refuse_kicks();
  sent_pieces_.clear();
  Status status;
  bool more = true, drained = false;
  std::size_t lent = 0;
  for (int i = 0; i < kBatch && lent < kMostLent && link::kSlabBytes - slab_end_ >= kLeastRoom;
       ++i) {
    std::size_t first_piece = sent_pieces_.size();
    auto chain = queue.pop(device_.memory(), sent_pieces_);
    if (!chain) {
      status = chain.status();
      break;
    }
    if (!*chain) {
      if (!drain(fd_.get())) {
        status = Status::from_errno(errno, "read its kick");
        break;
      }
      drained = true;
      if (queue.ask_for_kick()) continue;
      more = false;
      break;
    }
    bool is_right = take(first_piece, (*chain)->bytes);
    if (!is_right) ++counters_.tx_malformed;
    bool is_lent = is_right && frames_.back().lent;
    if (is_lent) {
      lent += frames_.back().lent.size;
    } else {
      sent_pieces_.resize(first_piece);
    }
    // In order, so that a VMM that finds a new hostd behind the queue knows where to go on.
    if (is_lent || !kept_chains_.empty()) {
      kept_chains_.push_back(**chain);
    } else {
      queue.give_back(**chain, 0);
    }
  }
  if (more && drained && status) kick_ourselves(fd_.get());
  publish(VhostUserDevice::kTransmit);
  show_lent();
  deliver();
  give_back_kept();
  if (!status) fail(VhostUserDevice::kTransmit, status);
  return more && status;
}

bool VhostUserPort::take(std::size_t first_piece, std::uint64_t size) {
  const std::size_t header = device_.header_size();
  if (size < header || size > header + link::kMaxFrame) return false;
  Bytes room(link::Slab::memory(slab_) + slab_end_ + kOffset, size);
  Bytes frame = room.subspan(header);
  std::size_t head = size < kLeastLent ? size : header + kLentHead;
  copy_head(first_piece, room.first(head));
  LentBytes rest{.pieces = std::span(sent_pieces_).subspan(first_piece), .size = size - head};
  bool in_few = rest.pieces.size() * kLeastPiece <= rest.size;
  auto offload = link::VirtioNetHeader::read(room.first(header));
  if (rest && !(in_few && link::may_lend(offload, frame, kLentHead))) {
    rest.copy_to(room.data() + head);
    rest = {};
    head = size;
  }
  slab_end_ = (slab_end_ + kOffset + head + kAlign - 1) / kAlign * kAlign;
  if (!link::add_virtio_frame(room.first(header), frame, slab_, frames_)) return false;
  if (rest) frames_.back().lent = rest;
  return true;
}

void VhostUserPort::copy_head(std::size_t first_piece, Bytes out) {
  auto piece = sent_pieces_.begin() + static_cast<std::ptrdiff_t>(first_piece);
  auto used_up = piece;
  while (!out.empty()) {
    std::size_t size = std::min(out.size(), used_up->iov_len);
    std::memcpy(out.data(), used_up->iov_base, size);
    out = out.subspan(size);
    used_up->iov_base = static_cast<std::uint8_t*>(used_up->iov_base) + size;
    used_up->iov_len -= size;
    if (used_up->iov_len == 0) ++used_up;
  }
  sent_pieces_.erase(piece, used_up);
}

void VhostUserPort::show_lent() {
  // Only now do the pieces stay where they are.
  std::span<const iovec> pieces = sent_pieces_;
  for (link::TxFrame& frame : frames_) {
    if (!frame.lent) continue;
    frame.lent.pieces = pieces.first(frame.lent.pieces.size());
    pieces = pieces.subspan(frame.lent.pieces.size());
  }
}

void VhostUserPort::give_back_kept() {
  VirtQueue& queue = device_.queue(VhostUserDevice::kTransmit);
  if (queue.running()) {
    for (const VirtQueue::Chain& chain : kept_chains_) queue.give_back(chain, 0);
    publish(VhostUserDevice::kTransmit);
  }
  kept_chains_.clear();
}

void VhostUserPort::notify() {
  publish(VhostUserDevice::kReceive);
}

void VhostUserPort::write_queue() {
  VirtQueue& queue = device_.queue(VhostUserDevice::kReceive);
  queue.refuse_kicks();
  std::array<iovec, kMaxIovecs> frame;
  bool is_full = false;
  while (!queue_.empty() && !is_full) {
    // The header is in the first piece; behind a short one of 10 bytes there is a second.
    std::size_t count = queue_.gather(0, std::span(frame).subspan(1));
    auto* header = static_cast<std::uint8_t*>(frame[1].iov_base);
    std::size_t size = device_.header_size();
    frame[0] = {header, size};
    frame[1] = {header + link::VirtioNetHeader::kSize,
                frame[1].iov_len - link::VirtioNetHeader::kSize};
    switch (place(std::span(frame).first(count + 1), queue_.unread(0))) {
      case Placed::all:
        queue_.pop(1);
        break;
      case Placed::no_room:
        is_full = true;
        break;
      case Placed::never:
        ++counters_.rx_lost;
        queue_.pop(1);
        break;
      case Placed::fault:
        return;
    }
  }
  queue.publish();
  // It may begin before the batch ends, so that both are at work.
  if (is_full || queue.untold() >= queue.size() / 4) notify();
  if (is_full) block(Until::told);
}

VhostUserPort::Placed VhostUserPort::place(std::span<const iovec> frame,
                                           const UnreadBytes& unread) {
  VirtQueue& queue = device_.queue(VhostUserDevice::kReceive);
  std::uint64_t size = total_size(frame) + unread.size, room = 0;
  pieces_.clear();
  chains_.clear();
  while (room < size) {
    auto chain = queue.pop(device_.memory(), pieces_);
    if (!chain) {
      fail(VhostUserDevice::kReceive, chain.status());
      return Placed::fault;
    }
    if (!*chain) {
      // For one more than there are, not for the first of those that are too few.
      if (queue.ask_for_kick()) continue;
      queue.unpop(static_cast<std::uint16_t>(chains_.size()));
      return Placed::no_room;
    }
    chains_.push_back(**chain);
    room += (*chain)->bytes;
    bool is_last = !device_.merges_buffers() || chains_.size() == queue.size();
    if (room < size && is_last) {
      queue.unpop(static_cast<std::uint16_t>(chains_.size()));
      return Placed::never;
    }
  }
  if (device_.header_size() == link::VirtioNetHeader::kSize) {
    auto count = static_cast<std::uint16_t>(chains_.size());
    std::memcpy(static_cast<std::uint8_t*>(frame[0].iov_base) + 10, &count, sizeof count);
  }
  if (!scatter(frame, unread)) {
    queue.unpop(static_cast<std::uint16_t>(chains_.size()));
    return Placed::never;
  }
  for (const VirtQueue::Chain& chain : chains_) {
    std::uint64_t here = std::min(size, chain.bytes);
    queue.give_back(chain, here);
    size -= here;
  }
  return Placed::all;
}

bool VhostUserPort::scatter(std::span<const iovec> frame, const UnreadBytes& unread) {
  auto to = pieces_.begin();
  for (const iovec& piece : frame) {
    for (std::size_t done = 0; done < piece.iov_len;) {
      std::size_t size = std::min(piece.iov_len - done, to->iov_len);
      std::memcpy(to->iov_base, static_cast<const std::uint8_t*>(piece.iov_base) + done, size);
      done += size;
      *to = {static_cast<std::uint8_t*>(to->iov_base) + size, to->iov_len - size};
      if (to->iov_len == 0) ++to;
    }
  }
  if (!unread) return true;
  std::span<iovec> rest(to, pieces_.end());
  return unread.copy_to(rest.first(limit_pieces(rest, unread.size)));
}

}  // namespace sluice::hostd
