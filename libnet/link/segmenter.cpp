#include "link/segmenter.h"

#include <algorithm>
#include <cstring>

namespace sluice::link {

namespace {

constexpr std::size_t kEthernet = 14;
constexpr std::uint8_t kFin = 0x01, kPsh = 0x08, kCwr = 0x80;
constexpr std::uint8_t kTcp = 6;

}  // namespace

Segmenter::Segmenter(const RxFrame& frame) : frame_(frame), step_(frame.payload_size) {
  if (frame.offload == Offload::none) return;
  is_v6_ = load_be16(frame.head.data() + 12) == 0x86dd;
  if (frame.segment_size > 0) step_ = std::min<std::size_t>(step_, frame.segment_size);
}

std::size_t Segmenter::count() const {
  return step_ == 0 ? 1 : (frame_.payload_size + step_ - 1) / step_;
}

wire::Checksum Segmenter::pseudo(std::size_t transport_size) const {
  wire::Checksum checksum;
  const std::uint8_t* ip = frame_.head.data() + kEthernet;
  checksum.add(is_v6_ ? ConstBytes(ip + 8, 32) : ConstBytes(ip + 12, 8));
  checksum.add_u32(kTcp);
  checksum.add_u32(static_cast<std::uint32_t>(transport_size));
  return checksum;
}

void Segmenter::add_payload(wire::Checksum& checksum, std::size_t size) {
  while (size > 0) {
    const iovec& piece = frame_.payload[piece_];
    std::size_t here = std::min(size, piece.iov_len - in_piece_);
    checksum.add({static_cast<const std::uint8_t*>(piece.iov_base) + in_piece_, here});
    size -= here;
    in_piece_ += here;
    if (in_piece_ == piece.iov_len) {
      ++piece_;
      in_piece_ = 0;
    }
  }
}

bool Segmenter::next(Segment& segment) {
  if (done_) return false;
  std::size_t size = std::min(step_, frame_.payload_size - offset_);
  bool first = index_ == 0, last = offset_ + size == frame_.payload_size;
  segment.head_size = frame_.head.size();
  segment.payload_offset = offset_;
  segment.payload_size = size;
  std::uint8_t* head = segment.head_bytes.data();
  std::memcpy(head, frame_.head.data(), frame_.head.size());
  if (frame_.offload == Offload::tcp) {
    std::uint8_t* tcp = head + frame_.l4_offset;
    std::size_t tcp_header = frame_.head.size() - frame_.l4_offset;
    if (!first || !last) {
      store_be32(tcp + 4, load_be32(tcp + 4) + static_cast<std::uint32_t>(offset_));
      if (!last) tcp[13] = static_cast<std::uint8_t>(tcp[13] & ~(kFin | kPsh));
      if (!first) tcp[13] = static_cast<std::uint8_t>(tcp[13] & ~kCwr);
      std::uint8_t* ip = head + kEthernet;
      if (is_v6_) {
        store_be16(ip + 4, static_cast<std::uint16_t>(tcp_header + size));
      } else {
        std::size_t ip_header = frame_.l4_offset - kEthernet;
        store_be16(ip + 2, static_cast<std::uint16_t>(ip_header + tcp_header + size));
        store_be16(ip + 4, static_cast<std::uint16_t>(load_be16(ip + 4) + index_));
        store_be16(ip + 10, 0);
        wire::Checksum checksum;
        checksum.add({ip, ip_header});
        store_be16(ip + 10, checksum.value());
      }
    }
    store_be16(tcp + 16, 0);
    wire::Checksum checksum = pseudo(tcp_header + size);
    checksum.add({tcp, tcp_header});
    add_payload(checksum, size);
    store_be16(tcp + 16, checksum.value());
  }
  offset_ += size;
  ++index_;
  done_ = last;
  return true;
}

}  // namespace sluice::link
