#include "agent/rpc/frame_stream.h"

namespace sluice::agent::rpc {

namespace {

/// Reads of one turn, so that one peer can't keep the loop for itself.
constexpr int kReadsPerTurn = 8;

}  // namespace

FrameStream::FrameStream(Loop& loop, std::unique_ptr<Link> link, Events events)
    : loop_(loop), link_(std::move(link)), events_(std::move(events)) {
  link_->set_handler([this](FdReady ready) { on_ready(ready); });
  update_interest();
}

FrameStream::~FrameStream() {
  *alive_ = false;
}

void FrameStream::reset() {
  reader_.reset();
  out_.clear();
  written_ = 0;
  was_busy_ = false;
  update_interest();
}

void FrameStream::set_reading(bool reading) {
  reading_ = reading;
  update_interest();
}

void FrameStream::on_ready(FdReady ready) {
  std::shared_ptr<bool> alive = alive_;
  if (ready.writable) flush();
  if (ready.readable && *alive && !ended_) {
    for (int reads = 0; reads < kReadsPerTurn && reading_ && queued() < kFullBytes; ++reads) {
      if (!read_some() || !*alive) break;
    }
  }
  if (*alive) update_interest();
}

/// Whether there may be more to read.
bool FrameStream::read_some() {
  Bytes space = reader_.space();
  IoResult result = link_->read(space);
  if (result.would_block()) return false;
  if (!result.ok() || result.bytes == 0) {
    end();
    return false;
  }
  reader_.filled(result.bytes);
  std::shared_ptr<bool> alive = alive_;
  while (auto frame = reader_.next()) {
    events_.on_frame(*frame);
    if (!*alive) return false;
  }
  return !ended_ && result.bytes == space.size();
}

void FrameStream::send(const FrameHeader& header, ConstBytes payload) {
  if (ended_) return;
  append_frame(out_, header, payload);
  if (!has_room()) was_busy_ = true;
  if (flushing_) return;
  flushing_ = true;
  loop_.defer([this, alive = alive_] {
    if (!*alive) return;
    flushing_ = false;
    flush();
    if (*alive) update_interest();
  });
}

void FrameStream::flush() {
  while (queued() > 0) {
    IoResult result = link_->write(ConstBytes(out_).subspan(written_));
    if (result.would_block()) break;
    if (!result.ok()) {
      end();
      return;
    }
    written_ += result.bytes;
  }
  if (queued() == 0) {
    out_.clear();
    if (out_.capacity() > kFullBytes) out_.shrink_to_fit();
    written_ = 0;
  } else if (written_ >= kBusyBytes) {
    out_.erase(out_.begin(), out_.begin() + static_cast<std::ptrdiff_t>(written_));
    written_ = 0;
  }
  if (!was_busy_ || !has_room()) return;
  was_busy_ = false;
  if (events_.on_room) events_.on_room();
}

void FrameStream::update_interest() {
  if (ended_) return;
  link_->set_interest({.readable = reading_ && queued() < kFullBytes, .writable = queued() > 0});
}

void FrameStream::end() {
  if (ended_) return;
  ended_ = true;
  link_->set_interest({});
  loop_.defer([this, alive = alive_] {
    if (!*alive) return;
    // It may destroy this, and what it was kept in.
    auto on_end = std::move(events_.on_end);
    on_end();
  });
}

}  // namespace sluice::agent::rpc
