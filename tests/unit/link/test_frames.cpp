#include "link/test_frames.h"

#include <algorithm>

namespace sluice::test {

namespace {

using Octets = std::vector<std::uint8_t>;

void put16(Octets& to, std::size_t at, std::size_t value) {
  to[at] = static_cast<std::uint8_t>(value >> 8);
  to[at + 1] = static_cast<std::uint8_t>(value);
}

void put32(Octets& to, std::size_t at, std::uint32_t value) {
  put16(to, at, value >> 16);
  put16(to, at + 2, value & 0xffff);
}

std::size_t get16(const Octets& from, std::size_t at) {
  return static_cast<std::size_t>(from[at] << 8 | from[at + 1]);
}

/// RFC 1071 as its text says: 16-bit words in network order, end-around carry at each addition.
std::uint16_t sum_of(const Octets& bytes) {
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i < bytes.size(); i += 2) {
    sum += static_cast<std::uint32_t>(bytes[i] << 8);
    if (i + 1 < bytes.size()) sum += bytes[i + 1];
    if (sum > 0xffff) sum -= 0xffff;
  }
  return static_cast<std::uint16_t>(sum);
}

bool is_v4(const Octets& frame) {
  return frame[12] == 0x08;
}

std::size_t l4_of(const Octets& frame) {
  return is_v4(frame) ? 14 + (frame[14] & 15u) * 4 : 54;
}

std::uint16_t tcp_sum(const Octets& frame) {
  std::size_t l4 = l4_of(frame);
  Octets all;
  auto addresses = frame.begin() + (is_v4(frame) ? 26 : 22);
  all.insert(all.end(), addresses, addresses + (is_v4(frame) ? 8 : 32));
  std::size_t length = frame.size() - l4;
  for (std::size_t value : {length >> 16, length & 0xffff, std::size_t{6}}) {
    all.push_back(static_cast<std::uint8_t>(value >> 8));
    all.push_back(static_cast<std::uint8_t>(value));
  }
  all.insert(all.end(), frame.begin() + static_cast<std::ptrdiff_t>(l4), frame.end());
  return sum_of(all);
}

std::uint16_t ip_sum(const Octets& frame) {
  return sum_of(
      Octets(frame.begin() + 14, frame.begin() + static_cast<std::ptrdiff_t>(l4_of(frame))));
}

}  // namespace

TestFrame::TestFrame(const FrameSpec& spec) : spec_(spec) {
  bool v4 = spec.family == Family::v4;
  std::size_t l3 = v4 ? 20 + spec.ip_options : 40;
  l4_offset_ = static_cast<std::uint16_t>(14 + l3);
  head_.assign(l4_offset_ + 20 + spec.tcp_options, 0);
  for (std::size_t i = 0; i < 12; ++i) head_[i] = static_cast<std::uint8_t>(2 + i);
  put16(head_, 12, v4 ? 0x0800 : 0x86dd);
  if (v4) {
    head_[14] = static_cast<std::uint8_t>(0x40 | (l3 / 4));
    put16(head_, 18, spec.ip_id);
    head_[20] = 0x40;
    head_[22] = 64;
    head_[23] = 6;
  } else {
    head_[14] = 0x60;
    head_[20] = 6;
    head_[21] = 64;
  }
  std::size_t addresses = v4 ? 26 : 22, size = v4 ? 8 : 32;
  for (std::size_t i = 0; i < size; ++i)
    head_[addresses + i] = static_cast<std::uint8_t>(77 * i + 9);
  for (std::size_t i = l4_offset_; i < head_.size(); ++i) {
    head_[i] = static_cast<std::uint8_t>(31 * i + 1);
  }
  put32(head_, l4_offset_ + 4u, spec.sequence);
  head_[l4_offset_ + 12u] = static_cast<std::uint8_t>((20 + spec.tcp_options) / 4 << 4);
  head_[l4_offset_ + 13u] = spec.flags;

  payload_.resize(spec.payload);
  for (std::size_t i = 0; i < payload_.size(); ++i) {
    payload_[i] = static_cast<std::uint8_t>(i * 131 + (i >> 8));
  }
  for (std::size_t at = 0; at < payload_.size(); at += spec.piece_size) {
    pieces_.push_back({payload_.data() + at, std::min(spec.piece_size, payload_.size() - at)});
  }
}

link::RxFrame TestFrame::view() const {
  return {.head = head_,
          .payload = pieces_,
          .payload_size = payload_.size(),
          .offload = link::Offload::tcp,
          .l4_offset = l4_offset_,
          .segment_size = spec_.segment_size};
}

std::vector<Octets> reference_cut(const link::RxFrame& frame) {
  Octets payload;
  for (const iovec& piece : frame.payload) {
    auto* at = static_cast<const std::uint8_t*>(piece.iov_base);
    payload.insert(payload.end(), at, at + piece.iov_len);
  }
  std::vector<Octets> out;
  std::size_t step = frame.segment_size == 0 ? payload.size() : frame.segment_size;
  std::size_t at = 0;
  do {
    std::size_t size = std::min(step, payload.size() - at);
    bool first = at == 0, last = at + size == payload.size();
    Octets whole(frame.head.begin(), frame.head.end());
    auto from = payload.begin() + static_cast<std::ptrdiff_t>(at);
    whole.insert(whole.end(), from, from + static_cast<std::ptrdiff_t>(size));
    std::size_t l4 = frame.l4_offset;
    if (is_v4(whole)) {
      put16(whole, 16, whole.size() - 14);
      put16(whole, 18, get16(whole, 18) + out.size());
      put16(whole, 24, 0);
      put16(whole, 24, 0xffffu - ip_sum(whole));
    } else {
      put16(whole, 18, whole.size() - 54);
    }
    std::uint32_t sequence = static_cast<std::uint32_t>(get16(whole, l4 + 4) << 16) +
                             static_cast<std::uint32_t>(get16(whole, l4 + 6));
    put32(whole, l4 + 4, sequence + static_cast<std::uint32_t>(at));
    if (!last) whole[l4 + 13] &= 0xf6;
    if (!first) whole[l4 + 13] &= 0x7f;
    put16(whole, l4 + 16, 0);
    put16(whole, l4 + 16, 0xffffu - tcp_sum(whole));
    out.push_back(std::move(whole));
    at += size;
  } while (at < payload.size());
  return out;
}

bool checksums_are_right(const Octets& frame) {
  if (is_v4(frame) && ip_sum(frame) != 0xffff) return false;
  std::size_t length = is_v4(frame) ? get16(frame, 16) : get16(frame, 18) + 40;
  return length == frame.size() - 14 && tcp_sum(frame) == 0xffff;
}

}  // namespace sluice::test
