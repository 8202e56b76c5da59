#include "agent/legacy/frame.h"

#include <algorithm>
#include <cstring>

#include "agent/legacy/types.h"

namespace sluice::agent::legacy {

void FrameReader::append(ConstBytes bytes) {
  if (cut_) return;
  std::size_t skipped = std::min<std::uint64_t>(skip_, bytes.size());
  skip_ -= skipped;
  buffer_.erase(buffer_.begin(), buffer_.begin() + static_cast<std::ptrdiff_t>(begin_));
  begin_ = 0;
  // What one large frame took is not kept for the small ones after it.
  if (buffer_.empty() && buffer_.capacity() > kMaxPayload / 4) buffer_.shrink_to_fit();
  bytes = bytes.subspan(skipped);
  buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
}

std::optional<Frame> FrameReader::next() {
  if (cut_ || waiting() < kHeaderBytes) return std::nullopt;
  const std::uint8_t* at = buffer_.data() + begin_;
  std::uint32_t length = load_be32(at);
  Frame frame{.type = load_be32(at + kTypeBytes)};
  if (length < kTypeBytes) {
    cut_ = true;
    frame.fault = Frame::Fault::cut;
    return frame;
  }
  std::size_t size = length - kTypeBytes;
  if (size > kMaxPayload) {
    std::size_t here = std::min(waiting() - kHeaderBytes, size);
    skip_ = size - here;
    begin_ += kHeaderBytes + here;
    frame.fault = Frame::Fault::oversized;
    return frame;
  }
  if (waiting() < kHeaderBytes + size) return std::nullopt;
  frame.payload = ConstBytes(at + kHeaderBytes, size);
  begin_ += kHeaderBytes + size;
  return frame;
}

void append_frame(std::vector<std::uint8_t>& out, std::uint32_t type, ConstBytes payload) {
  std::size_t at = out.size();
  out.resize(at + kHeaderBytes);
  store_be32(&out[at], static_cast<std::uint32_t>(kTypeBytes + payload.size()));
  store_be32(&out[at + kTypeBytes], type);
  out.insert(out.end(), payload.begin(), payload.end());
}

void append_error(std::vector<std::uint8_t>& out, std::int32_t code, std::string_view text) {
  constexpr std::size_t kMostText = 4096;
  constexpr std::size_t kTextAt = 8;
  text = text.substr(0, kMostText);
  std::vector<std::uint8_t> payload(kTextAt);
  store_be32(payload.data(), static_cast<std::uint32_t>(code));
  store_be32(&payload[4], static_cast<std::uint32_t>(text.size()));
  payload.insert(payload.end(), text.begin(), text.end());
  append_frame(out, static_cast<std::uint32_t>(Type::error), payload);
}

}  // namespace sluice::agent::legacy
