#include "agent/rpc/frame.h"

#include <algorithm>
#include <cstring>

namespace sluice::agent::rpc {

namespace {

constexpr std::size_t kReadBytes = std::size_t{64} << 10;
constexpr std::size_t kKeptBytes = 4 * kReadBytes;
constexpr std::size_t kLeastSpace = std::size_t{4} << 10;

}  // namespace

Bytes FrameReader::space() {
  if (begin_ == end_) {
    begin_ = end_ = 0;
    // What one large frame took is not kept for the small ones after it.
    if (buffer_.size() > kKeptBytes) buffer_ = std::vector<std::uint8_t>(kReadBytes);
  }
  if (buffer_.size() - end_ < kLeastSpace) {
    if (begin_ > 0) std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
    if (buffer_.size() - end_ < kLeastSpace) {
      buffer_.resize(std::max(kReadBytes, 2 * buffer_.size()));
    }
  }
  return Bytes(buffer_).subspan(end_);
}

void FrameReader::filled(std::size_t bytes) {
  end_ += bytes;
}

std::optional<Frame> FrameReader::next() {
  std::size_t skipped = std::min(skip_, end_ - begin_);
  begin_ += skipped;
  skip_ -= skipped;
  if (skip_ > 0 || end_ - begin_ < kFrameHeaderBytes) return std::nullopt;

  const std::uint8_t* at = buffer_.data() + begin_;
  Frame frame;
  frame.header = {load_be32(at), load_be32(at + 4), at[8], at[9]};
  if (frame.header.length > kMaxPayloadBytes) {
    begin_ += kFrameHeaderBytes;
    skip_ = frame.header.length;
    frame.oversized = true;
    return frame;
  }
  if (end_ - begin_ < kFrameHeaderBytes + frame.header.length) return std::nullopt;
  frame.payload = ConstBytes(at + kFrameHeaderBytes, frame.header.length);
  begin_ += kFrameHeaderBytes + frame.header.length;
  return frame;
}

void FrameReader::reset() {
  begin_ = end_ = skip_ = 0;
}

void append_frame(std::vector<std::uint8_t>& out, const FrameHeader& header, ConstBytes payload) {
  std::size_t at = out.size();
  out.resize(at + kFrameHeaderBytes + payload.size());
  store_be32(&out[at], static_cast<std::uint32_t>(payload.size()));
  store_be32(&out[at + 4], header.stream);
  out[at + 8] = header.type;
  out[at + 9] = header.flags;
  if (!payload.empty()) {
    std::memcpy(&out[at + kFrameHeaderBytes], payload.data(), payload.size());
  }
}

}  // namespace sluice::agent::rpc
