#include "hostd/attach/stream_port.h"

#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/log.h"

namespace sluice::hostd {

namespace {

constexpr std::size_t kLength = 4;
/// One read: several of the largest frames, so that a fast guest costs few system calls.
constexpr std::size_t kSlabBytes = 512 << 10;
/// A slab with less room than one frame at the largest is left for the next.
constexpr std::size_t kLeastRoom = kLength + link::kMaxFrame;
/// Reads before others on the loop have their turn.
constexpr int kReadsPerTurn = 4;
/// What may wait for the socket, in bytes. Data is refused from the first limit on, so that the
/// rest is for control frames.
constexpr std::size_t kDataLimit = 768 << 10;
constexpr std::size_t kControlLimit = 1 << 20;
/// Enough for a system call of its own, before the batch ends.
constexpr std::size_t kWriteEarly = 256 << 10;
/// No frame for a guest that announces a tiny MSS is smaller (RFC 9293 section 3.7.1 has 536 as the
/// least that everybody takes).
constexpr std::size_t kLeastSegment = 216;
/// Linux's IOV_MAX.
constexpr std::size_t kMaxPieces = 1024;
constexpr int kSocketBuffer = 1 << 20;

}  // namespace

struct StreamPort::Slab : Buffer {
  Slab()
      : Buffer([](Buffer* buffer) { delete static_cast<Slab*>(buffer); }),
        memory(std::make_unique_for_overwrite<std::uint8_t[]>(kSlabBytes)) {}
  std::unique_ptr<std::uint8_t[]> memory;
};

StreamPort::~StreamPort() {
  drop_queue();
}

void StreamPort::open(UniqueFd socket) {
  drop_queue();
  watch_.reset();
  socket_ = std::move(socket);
  slab_begin_ = slab_end_ = 0;
  blocked_ = refused_ = false;
  // As much as the kernel allows; what it allows is no error.
  ::setsockopt(socket_.get(), SOL_SOCKET, SO_SNDBUF, &kSocketBuffer, sizeof kSocketBuffer);
  ::setsockopt(socket_.get(), SOL_SOCKET, SO_RCVBUF, &kSocketBuffer, sizeof kSocketBuffer);
  watch_ = loop_.watch(socket_.get(), {.readable = true, .writable = false},
                       [this](FdReady ready) { on_ready(ready); });
  if (handler_) handler_->on_port_link(true);
}

void StreamPort::set_handler(link::PortHandler* handler) {
  handler_ = handler;
  if (handler_ && socket_) handler_->on_port_link(true);
}

void StreamPort::on_ready(FdReady ready) {
  if (ready.writable && blocked_) {
    set_blocked(false);
    write_queue();
  }
  if (ready.readable && socket_) {
    for (int i = 0; i < kReadsPerTurn && read_frames(); ++i) {
    }
  }
  if (refused_ && !blocked_ && socket_ && handler_ && queued_bytes_ < kDataLimit / 2) {
    refused_ = false;
    handler_->on_port_space();
  }
}

void StreamPort::use_slab(std::size_t at_least) {
  bool ours_alone = slab_ && slab_.get()->references == 1;
  std::size_t rest = slab_end_ - slab_begin_;
  if (slab_ && rest == 0 && ours_alone) {
    slab_begin_ = slab_end_ = 0;
    return;
  }
  if (slab_ && kSlabBytes - slab_begin_ >= at_least && kSlabBytes - slab_end_ > 0) return;
  // The beginning of a frame that is not complete moves along.
  BufferRef next = ours_alone ? slab_ : BufferRef(std::make_unique<Slab>().release());
  auto* to = static_cast<Slab*>(next.get())->memory.get();
  if (rest > 0) std::memmove(to, static_cast<Slab*>(slab_.get())->memory.get() + slab_begin_, rest);
  slab_ = std::move(next);
  slab_begin_ = 0;
  slab_end_ = rest;
}

bool StreamPort::read_frames() {
  use_slab(kLeastRoom);
  std::uint8_t* memory = static_cast<Slab*>(slab_.get())->memory.get();
  std::size_t room = kSlabBytes - slab_end_;
  ssize_t n = ::recv(socket_.get(), memory + slab_end_, room, MSG_DONTWAIT);
  if (n < 0) {
    if (errno != EAGAIN && errno != EINTR) close(std::strerror(errno));
    return false;
  }
  if (n == 0) {
    close("the guest's end closed it");
    return false;
  }
  slab_end_ += static_cast<std::size_t>(n);

  frames_.clear();
  while (slab_end_ - slab_begin_ >= kLength) {
    std::size_t size = load_be32(memory + slab_begin_);
    if (size > link::kMaxFrame) {
      ++counters_.tx_malformed;
      close("a frame's length is over 65550 bytes, so the stream is out of step");
      break;
    }
    if (slab_end_ - slab_begin_ - kLength < size) break;
    frames_.push_back({{memory + slab_begin_ + kLength, size}, slab_, false});
    counters_.tx_bytes += size;
    slab_begin_ += kLength + size;
  }
  counters_.tx_frames += frames_.size();
  if (!frames_.empty() && handler_) handler_->on_frames(frames_);
  frames_.clear();
  return socket_ && static_cast<std::size_t>(n) == room;
}

link::SendResult StreamPort::send(const link::RxFrame& frame, link::FrameClass frame_class) {
  if (!socket_) {
    // Nobody is there. What TCP has will be asked for again; the rest is as lost as on a cable.
    if (frame_class == link::FrameClass::data) return link::SendResult::full;
    ++counters_.rx_lost;
    if (frame.release) frame.release(frame.owner);
    return link::SendResult::sent;
  }
  std::size_t limit = frame_class == link::FrameClass::data ? kDataLimit : kControlLimit;
  if (queued_bytes_ >= limit) {
    refused_ = true;
    ++counters_.rx_refused;
    return link::SendResult::full;
  }
  if (frame.offload == link::Offload::tcp) {
    if (auto segmenter = link::Segmenter::make(frame, kLeastSegment)) {
      for (std::size_t left = segmenter->count(); left > 0; --left) {
        Out& out = begin_out();
        auto cut = segmenter->next(Bytes(out.head).subspan(kLength), pieces_);
        finish_out(out, frame, cut->head_size, cut->payload_size, left == 1);
      }
    }
  } else {
    Out& out = begin_out();
    std::memcpy(out.head.data() + kLength, frame.head.data(), frame.head.size());
    pieces_.insert(pieces_.end(), frame.payload.begin(), frame.payload.end());
    finish_out(out, frame, frame.head.size(), frame.payload_size, true);
  }
  if (queued_bytes_ >= kWriteEarly && !blocked_) write_queue();
  return link::SendResult::sent;
}

StreamPort::Out& StreamPort::begin_out() {
  Out& out = queue_.emplace_back();
  out.first_piece = static_cast<std::uint32_t>(pieces_.size());
  return out;
}

void StreamPort::finish_out(Out& out, const link::RxFrame& frame, std::size_t head_size,
                            std::size_t payload_size, bool last) {
  std::size_t size = head_size + payload_size;
  store_be32(out.head.data(), static_cast<std::uint32_t>(size));
  out.head_size = static_cast<std::uint32_t>(kLength + head_size);
  out.size = static_cast<std::uint32_t>(kLength + size);
  out.release = last ? frame.release : nullptr;
  out.owner = frame.owner;
  if (!frame.release && payload_size > 0) {
    out.copy = std::make_unique_for_overwrite<std::uint8_t[]>(payload_size);
    std::size_t at = 0;
    for (std::size_t i = out.first_piece; i < pieces_.size(); ++i) {
      std::memcpy(out.copy.get() + at, pieces_[i].iov_base, pieces_[i].iov_len);
      at += pieces_[i].iov_len;
    }
    pieces_.resize(out.first_piece);
    pieces_.push_back({out.copy.get(), payload_size});
  }
  out.pieces = static_cast<std::uint32_t>(pieces_.size()) - out.first_piece;
  queued_bytes_ += out.size;
  ++counters_.rx_frames;
  counters_.rx_bytes += size;
}

void StreamPort::flush() {
  if (!blocked_ && socket_) write_queue();
}

void StreamPort::write_queue() {
  while (queue_head_ < queue_.size()) {
    iovec vector[kMaxPieces];
    std::size_t count = 0, total = 0, skip = sent_of_head_;
    auto add = [&](void* base, std::size_t size) {
      if (skip >= size) {
        skip -= size;
        return;
      }
      vector[count++] = {static_cast<std::uint8_t*>(base) + skip, size - skip};
      total += size - skip;
      skip = 0;
    };
    for (std::size_t i = queue_head_; i < queue_.size(); ++i) {
      Out& out = queue_[i];
      if (count + 1 + out.pieces > kMaxPieces) break;
      add(out.head.data(), out.head_size);
      for (std::uint32_t p = 0; p < out.pieces; ++p) {
        add(pieces_[out.first_piece + p].iov_base, pieces_[out.first_piece + p].iov_len);
      }
    }
    msghdr message{};
    message.msg_iov = vector;
    message.msg_iovlen = count;
    ssize_t n = ::sendmsg(socket_.get(), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN || errno == ENOBUFS) {
        set_blocked(true);
        return;
      }
      close(std::strerror(errno));
      return;
    }
    take_sent(static_cast<std::size_t>(n));
    if (static_cast<std::size_t>(n) < total) {
      set_blocked(true);
      return;
    }
  }
}

void StreamPort::take_sent(std::size_t count) {
  queued_bytes_ -= count;
  count += sent_of_head_;
  sent_of_head_ = 0;
  while (queue_head_ < queue_.size() && count >= queue_[queue_head_].size) {
    Out& out = queue_[queue_head_++];
    count -= out.size;
    out.copy.reset();
    if (out.release) out.release(out.owner);
  }
  sent_of_head_ = count;
  if (queue_head_ == queue_.size()) {
    queue_.clear();
    pieces_.clear();
    queue_head_ = 0;
  } else if (queue_head_ >= 256) {
    std::uint32_t gone = queue_[queue_head_].first_piece;
    queue_.erase(queue_.begin(), queue_.begin() + static_cast<std::ptrdiff_t>(queue_head_));
    pieces_.erase(pieces_.begin(), pieces_.begin() + static_cast<std::ptrdiff_t>(gone));
    for (Out& out : queue_) out.first_piece -= gone;
    queue_head_ = 0;
  }
}

void StreamPort::set_blocked(bool blocked) {
  if (blocked_ == blocked || !watch_) return;
  blocked_ = blocked;
  watch_->set_interest({.readable = true, .writable = blocked});
}

void StreamPort::close(const char* why) {
  if (!socket_) return;
  log(LogLevel::info, "guest's socket: {}", why);
  // The watch may be the one that is calling.
  watch_->set_interest({});
  drop_queue();
  socket_.reset();
  slab_begin_ = slab_end_ = 0;
  loop_.defer([this] {
    if (socket_) return;
    watch_.reset();
    if (handler_) handler_->on_port_link(false);
    if (on_closed_) on_closed_();
  });
}

void StreamPort::drop_queue() {
  for (std::size_t i = queue_head_; i < queue_.size(); ++i) {
    ++counters_.rx_lost;
    if (queue_[i].release) queue_[i].release(queue_[i].owner);
  }
  queue_.clear();
  pieces_.clear();
  queue_head_ = 0;
  sent_of_head_ = queued_bytes_ = 0;
  blocked_ = false;
}

}  // namespace sluice::hostd
