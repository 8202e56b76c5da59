#include "hostd/attach/frame_queue.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "link/segmenter.h"
#include "wire/tcp.h"

namespace sluice::hostd {

namespace {

/// What may wait, in bytes. Data is refused from the first limit on.
constexpr std::size_t kDataLimit = 768 << 10;
constexpr std::size_t kControlLimit = 1 << 20;
constexpr std::size_t kWorthWriting = 256 << 10;
/// Of a frame's payload by reference; more are copied into one. Far below Linux's IOV_MAX.
constexpr std::size_t kMostPieces = 512;
/// Frames that left are taken out of the vectors in lots, as that moves the others.
constexpr std::size_t kTidyAfter = 256;

}  // namespace

bool FrameQueue::has_room(link::FrameClass frame_class) const {
  return bytes_ < (frame_class == link::FrameClass::data ? kDataLimit : kControlLimit);
}

bool FrameQueue::has_much_room() const {
  return bytes_ < kDataLimit / 2;
}

bool FrameQueue::is_worth_writing() const {
  return bytes_ >= kWorthWriting;
}

FrameQueue::Taken FrameQueue::add(const link::RxFrame& frame) {
  Taken taken;
  auto take = [&](Out& out, std::size_t head_size, std::size_t payload_size) {
    finish(out, frame, head_size, payload_size);
    ++taken.frames;
    taken.bytes += head_size + payload_size;
  };
  if (add_whole(frame)) {
    taken = {1, frame.head.size() + frame.payload_size};
  } else if (frame.unread) {
    // Nobody has the bytes to sum or to cut them.
  } else if (frame.offload == link::Offload::tcp) {
    if (auto segmenter = link::Segmenter::make(frame, wire::kLeastTcpSegment);
        segmenter && segmenter->full_frame() <= link::kMaxFrame) {
      for (std::size_t left = segmenter->count(); left > 0; --left) {
        Out& out = begin();
        auto cut = segmenter->next(Bytes(out.head).subspan(prefix_size()), pieces_);
        take(out, cut->head_size, cut->payload_size);
      }
    }
  } else if (frame.head.size() <= link::kMaxHead &&
             frame.head.size() + frame.payload_size <= link::kMaxFrame) {
    Out& out = begin();
    std::copy(frame.head.begin(), frame.head.end(), out.head.begin() + prefix_size());
    pieces_.insert(pieces_.end(), frame.payload.begin(), frame.payload.end());
    take(out, frame.head.size(), frame.payload_size);
  }
  // The last segment's turn is after all the others', in order.
  if (taken.frames > 0) {
    queue_.back().release = frame.release;
    queue_.back().owner = frame.owner;
  } else if (frame.release) {
    frame.release(frame.owner);
  }
  return taken;
}

bool FrameQueue::add_whole(const link::RxFrame& frame) {
  if (!guest_.checksum || frame.offload != link::Offload::tcp) return false;
  if (frame.head.size() + frame.payload_size > link::kMaxFrame) return false;
  std::array<std::uint8_t, link::kMaxHead> head;
  auto header = link::leave_to_guest(frame, guest_, head);
  if (!header) return false;
  Out& out = begin();
  std::copy_n(head.begin(), frame.head.size(), out.head.begin() + link::VirtioNetHeader::kSize);
  pieces_.insert(pieces_.end(), frame.payload.begin(), frame.payload.end());
  out.unread = frame.unread;
  finish(out, frame, frame.head.size(), frame.payload_size);
  header->write(Bytes(out.head).first(link::VirtioNetHeader::kSize));
  return true;
}

std::size_t FrameQueue::prefix_size() const {
  switch (prefix_) {
    case Prefix::none:
      return 0;
    case Prefix::length:
      return 4;
    case Prefix::virtio:
      return link::VirtioNetHeader::kSize;
  }
  return 0;
}

FrameQueue::Out& FrameQueue::begin() {
  Out& out = queue_.emplace_back();
  out.first_piece = static_cast<std::uint32_t>(pieces_.size());
  return out;
}

void FrameQueue::finish(Out& out, const link::RxFrame& frame, std::size_t head_size,
                        std::size_t payload_size) {
  std::size_t size = head_size + payload_size;
  Bytes prefix = Bytes(out.head).first(prefix_size());
  if (prefix_ == Prefix::length) store_be32(prefix.data(), static_cast<std::uint32_t>(size));
  if (prefix_ == Prefix::virtio) link::VirtioNetHeader{.buffers = 1}.write(prefix);
  out.head_size = static_cast<std::uint32_t>(prefix.size() + head_size);
  out.size = static_cast<std::uint32_t>(prefix.size() + size);
  bool many = pieces_.size() - out.first_piece > kMostPieces;
  std::size_t read_size = payload_size - out.unread.size;
  if (read_size > 0 && (!frame.release || many)) copy_payload(out, read_size);
  out.pieces = static_cast<std::uint32_t>(pieces_.size()) - out.first_piece;
  bytes_ += out.size;
}

void FrameQueue::copy_payload(Out& out, std::size_t payload_size) {
  bool is_short = out.head_size + payload_size <= out.head.size();
  if (!is_short) out.copy = std::make_unique_for_overwrite<std::uint8_t[]>(payload_size);
  std::uint8_t* to = is_short ? out.head.data() + out.head_size : out.copy.get();
  for (std::size_t i = out.first_piece; i < pieces_.size(); ++i) {
    std::memcpy(to, pieces_[i].iov_base, pieces_[i].iov_len);
    to += pieces_[i].iov_len;
  }
  pieces_.resize(out.first_piece);
  if (is_short) {
    out.head_size += static_cast<std::uint32_t>(payload_size);
  } else {
    pieces_.push_back({out.copy.get(), payload_size});
  }
}

std::size_t FrameQueue::gather(std::size_t index, std::span<iovec> out) {
  Out& frame = queue_[first_ + index];
  if (1 + frame.pieces > out.size()) return 0;
  std::size_t count = 0, skip = index == 0 ? left_of_first_ : 0;
  auto add = [&](void* base, std::size_t size) {
    if (skip >= size) {
      skip -= size;
      return;
    }
    out[count++] = {static_cast<std::uint8_t*>(base) + skip, size - skip};
    skip = 0;
  };
  add(frame.head.data(), frame.head_size);
  for (std::uint32_t i = 0; i < frame.pieces; ++i) {
    const iovec& piece = pieces_[frame.first_piece + i];
    add(piece.iov_base, piece.iov_len);
  }
  return count;
}

void FrameQueue::pop(std::size_t frames) {
  for (; frames > 0 && !empty(); --frames) {
    Out& out = queue_[first_++];
    bytes_ -= out.size - left_of_first_;
    left_of_first_ = 0;
    out.copy.reset();
    // It may send, which moves the queue.
    if (auto* release = std::exchange(out.release, nullptr)) release(out.owner);
  }
  tidy();
}

void FrameQueue::pop_bytes(std::size_t bytes) {
  std::size_t whole = 0, rest = bytes + left_of_first_;
  while (whole < frames() && rest >= queue_[first_ + whole].size) {
    rest -= queue_[first_ + whole].size;
    ++whole;
  }
  if (whole == 0) {
    bytes_ -= bytes;
    left_of_first_ = rest;
    return;
  }
  pop(whole);
  bytes_ -= rest;
  left_of_first_ = rest;
}

std::size_t FrameQueue::clear() {
  std::size_t lost = frames();
  pop(lost);
  return lost;
}

void FrameQueue::tidy() {
  if (empty()) {
    queue_.clear();
    pieces_.clear();
    first_ = 0;
  } else if (first_ >= kTidyAfter) {
    std::uint32_t gone = queue_[first_].first_piece;
    queue_.erase(queue_.begin(), queue_.begin() + static_cast<std::ptrdiff_t>(first_));
    pieces_.erase(pieces_.begin(), pieces_.begin() + static_cast<std::ptrdiff_t>(gone));
    for (Out& out : queue_) out.first_piece -= gone;
    first_ = 0;
  }
}

}  // namespace sluice::hostd
