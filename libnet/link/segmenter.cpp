#include "link/segmenter.h"

#include <algorithm>
#include <cstring>

#include "wire/checksum.h"

namespace sluice::link {

namespace {

constexpr std::size_t kEthernet = 14;
constexpr std::size_t kIpv4 = 20;
constexpr std::size_t kIpv6 = 40;
constexpr std::size_t kTcp = 20;

constexpr std::uint8_t kFin = 0x01, kPsh = 0x08, kCwr = 0x80;

bool is_v4(ConstBytes head) {
  return load_be16(&head[12]) == 0x0800;
}

}  // namespace

std::optional<Segmenter> Segmenter::make(const RxFrame& frame, std::size_t least_segment) {
  ConstBytes head = frame.head;
  std::size_t l4 = frame.l4_offset;
  if (frame.payload_size > kMaxFrame || head.size() > kMaxHead) return std::nullopt;
  if (head.size() < kEthernet + kIpv4 + kTcp) return std::nullopt;
  std::uint16_t type = load_be16(&head[12]);
  bool v4 = type == 0x0800 && (head[kEthernet] >> 4) == 4;
  bool v6 = type == 0x86dd && (head[kEthernet] >> 4) == 6;
  if (!v4 && !v6) return std::nullopt;
  if (l4 < kEthernet + (v4 ? kIpv4 : kIpv6) || l4 + kTcp > head.size()) return std::nullopt;
  if (l4 + (head[l4 + 12] >> 4) * std::size_t{4} != head.size()) return std::nullopt;
  if (v4 && kEthernet + (head[kEthernet] & 0xf) * std::size_t{4} != l4) return std::nullopt;

  Segmenter segmenter(frame);
  std::size_t step = frame.segment_size == 0 ? frame.payload_size : frame.segment_size;
  step = std::max({step, least_segment, std::size_t{1}});
  segmenter.step_ = step;
  segmenter.count_ = std::max<std::size_t>(1, (frame.payload_size + step - 1) / step);
  return segmenter;
}

std::size_t Segmenter::full_frame() const {
  return frame_.head.size() + std::min(step_, frame_.payload_size);
}

std::optional<Segmenter::Cut> Segmenter::next(Bytes head, std::vector<iovec>& pieces) {
  if (index_ == count_ || head.size() < frame_.head.size()) return std::nullopt;
  std::size_t size = std::min(step_, frame_.payload_size - offset_);
  std::size_t first_piece = pieces.size();
  take_payload(size, pieces);
  head = head.first(frame_.head.size());
  std::memcpy(head.data(), frame_.head.data(), head.size());
  write_ip(head, size);
  write_tcp(head, std::span<const iovec>(pieces).subspan(first_piece), size);
  offset_ += size;
  ++index_;
  return Cut{head.size(), size};
}

void Segmenter::take_payload(std::size_t size, std::vector<iovec>& pieces) {
  while (size > 0 && piece_ < frame_.payload.size()) {
    const iovec& piece = frame_.payload[piece_];
    std::size_t n = std::min(size, piece.iov_len - piece_offset_);
    if (n > 0) pieces.push_back({static_cast<std::uint8_t*>(piece.iov_base) + piece_offset_, n});
    size -= n;
    piece_offset_ += n;
    if (piece_offset_ == piece.iov_len) {
      ++piece_;
      piece_offset_ = 0;
    }
  }
}

void Segmenter::write_ip(Bytes head, std::size_t payload_size) const {
  Bytes ip = head.subspan(kEthernet);
  if (!is_v4(head)) {
    store_be16(&ip[4], static_cast<std::uint16_t>(ip.size() - kIpv6 + payload_size));
    return;
  }
  Bytes header = ip.first(frame_.l4_offset - kEthernet);
  store_be16(&ip[2], static_cast<std::uint16_t>(ip.size() + payload_size));
  // Ids must differ while fragments may be under way (RFC 6864 section 4).
  store_be16(&ip[4], static_cast<std::uint16_t>(load_be16(&ip[4]) + index_));
  store_be16(&ip[10], 0);
  wire::Checksum sum;
  sum.add(header);
  store_be16(&ip[10], sum.value());
}

void Segmenter::write_tcp(Bytes head, std::span<const iovec> payload,
                          std::size_t payload_size) const {
  Bytes ip = head.subspan(kEthernet), tcp = head.subspan(frame_.l4_offset);
  store_be32(&tcp[4], static_cast<std::uint32_t>(load_be32(&tcp[4]) + offset_));
  if (index_ + 1 < count_) tcp[13] &= static_cast<std::uint8_t>(~(kFin | kPsh));
  if (index_ > 0) tcp[13] &= static_cast<std::uint8_t>(~kCwr);
  store_be16(&tcp[16], 0);

  // The pseudo header (RFC 9293 section 3.1, RFC 8200 section 8.1).
  wire::Checksum sum;
  sum.add(is_v4(head) ? ip.subspan(12, 8) : ip.subspan(8, 32));
  sum.add_u16(6);
  sum.add_u32(static_cast<std::uint32_t>(tcp.size() + payload_size));
  sum.add(tcp);
  for (const iovec& piece : payload) {
    sum.add({static_cast<const std::uint8_t*>(piece.iov_base), piece.iov_len});
  }
  store_be16(&tcp[16], sum.value());
}

}  // namespace sluice::link
