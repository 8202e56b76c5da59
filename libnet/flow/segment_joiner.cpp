#include "flow/segment_joiner.h"

#include <algorithm>
#include <cstring>
#include <iterator>

#include "wire/ethernet.h"
#include "wire/ip_protocol.h"
#include "wire/ipv4.h"
#include "wire/ipv6.h"
#include "wire/tcp.h"

namespace sluice::flow {

namespace {

/// No-operation twice, then timestamps: what every kernel sends where both ends have them (RFC 7323
/// appendix A).
constexpr std::uint8_t kTimestampLayout[] = {1, 1, 8, 10};
constexpr std::size_t kTimestampOptions = 12;

bool same(const std::uint8_t* a, const std::uint8_t* b, std::size_t size) {
  return std::memcmp(a, b, size) == 0;
}

/// Options that no segment need be parsed for: none, or timestamps in their usual place.
bool options_are_usual(const std::uint8_t* options, std::size_t size) {
  return size == 0 ||
         (size == kTimestampOptions && same(options, kTimestampLayout, sizeof kTimestampLayout));
}

/// Whether the IPv4 header at `ip` is the one at `known` but for length, identification and
/// checksum, which must fit.
bool continues_v4(const std::uint8_t* ip, const std::uint8_t* known) {
  if (!same(ip, known, 2) || !same(ip + 6, known + 6, 4) || !same(ip + 12, known + 12, 8)) {
    return false;
  }
  wire::Checksum sum;
  sum.add({ip, wire::kIpv4HeaderSize});
  return sum.is_valid();
}

bool continues_v6(const std::uint8_t* ip, const std::uint8_t* known) {
  return same(ip, known, 4) && same(ip + 6, known + 6, wire::kIpv6HeaderSize - 6);
}

}  // namespace

bool SegmentJoiner::is_plain(std::uint8_t flags, std::size_t payload_size) {
  return payload_size > 0 && wire::TcpFlags{flags}.are_plain();
}

void SegmentJoiner::begin(const Segment& first) {
  header_ = first.header;
  header_buffer_ = first.buffer;
  next_sequence_ = load_be32(first.header.data() + 4);
  append(first);

  template_ = {};
  if (first.frame.empty()) return;
  std::size_t tcp_at = static_cast<std::size_t>(first.header.data() - first.frame.data());
  const std::uint8_t* ip = first.frame.data() + wire::kEthernetHeaderSize;
  bool v4 = ip[0] >> 4 == 4;
  // IPv4 options and IPv6 extension headers go the ordinary way.
  if (tcp_at != wire::kEthernetHeaderSize + (v4 ? wire::kIpv4HeaderSize : wire::kIpv6HeaderSize))
    return;
  std::size_t options = first.header.size() - wire::kTcpHeaderSize;
  if (!options_are_usual(first.header.data() + wire::kTcpHeaderSize, options)) return;
  template_ = first.frame.first(tcp_at + first.header.size());
  tcp_at_ = tcp_at;
  pseudo_header_ = {};
  pseudo_header_.add(v4 ? ConstBytes(ip + 12, 8) : ConstBytes(ip + 8, 32));
  pseudo_header_.add_u16(static_cast<std::uint8_t>(wire::IpProtocol::tcp));
}

bool SegmentJoiner::add(const Segment& next) {
  if (load_be32(next.header.data() + 4) != next_sequence_ || !has_room(next.payload_size())) {
    return false;
  }
  take_header(next.header.data());
  append(next);
  return true;
}

bool SegmentJoiner::add_frame(Bytes frame, const BufferRef& buffer, bool checksum_trusted,
                              const LentBytes& lent) {
  if (empty() || template_.empty() || frame.size() <= template_.size()) return false;
  const std::uint8_t* ip = frame.data() + wire::kEthernetHeaderSize;
  const std::uint8_t* tcp = frame.data() + tcp_at_;
  const std::uint8_t* known = template_.data();
  const std::uint8_t* known_ip = known + wire::kEthernetHeaderSize;
  const std::uint8_t* known_tcp = known + tcp_at_;

  // Cheapest and likeliest to differ first.
  if (load_be32(tcp + 4) != next_sequence_ || !same(tcp, known_tcp, 4)) return false;
  bool v4 = tcp_at_ == wire::kEthernetHeaderSize + wire::kIpv4HeaderSize;
  std::size_t total = v4 ? load_be16(ip + 2) : wire::kIpv6HeaderSize + load_be16(ip + 4);
  std::size_t size = wire::kEthernetHeaderSize + total;
  if (size > frame.size() || size <= template_.size()) return false;
  // What is lent is the end of the packet, not of what pads it.
  if (lent && (size != frame.size() || size - lent.size < template_.size())) return false;
  frame = frame.first(size);
  Bytes payload = frame.first(size - lent.size).subspan(template_.size());
  Bytes header = frame.subspan(tcp_at_, template_.size() - tcp_at_);
  if (!has_room(payload.size() + lent.size)) return false;
  if (!same(frame.data(), known, wire::kEthernetHeaderSize)) return false;
  if (v4 ? !continues_v4(ip, known_ip) : !continues_v6(ip, known_ip)) return false;
  // The data offset, and the bits beside it.
  if (tcp[12] != known_tcp[12] || (tcp[13] & wire::TcpFlags::kAck) == 0) return false;
  if (!is_plain(tcp[13], payload.size() + lent.size)) return false;
  std::size_t options = header.size() - wire::kTcpHeaderSize;
  if (!options_are_usual(tcp + wire::kTcpHeaderSize, options)) return false;
  if (!checksum_trusted) {
    wire::Checksum sum = pseudo_header_;
    ConstBytes segment = frame.subspan(tcp_at_);
    sum.add_u16(static_cast<std::uint16_t>(segment.size()));
    sum.add(segment);
    if (!sum.is_valid()) return false;
  }
  take_header(tcp);
  append({.frame = frame, .header = header, .payload = payload, .buffer = buffer, .lent = lent});
  return true;
}

void SegmentJoiner::take_header(const std::uint8_t* header) {
  // The newest acknowledgment and window stand for all.
  std::copy_n(header + 8, 4, header_.begin() + 8);
  header_[13] |= header[13];
  std::copy_n(header + 14, 2, header_.begin() + 14);
}

void SegmentJoiner::append(const Segment& next) {
  std::size_t size = next.payload.size();
  size_ += next.payload_size();
  next_sequence_ += static_cast<std::uint32_t>(next.payload_size());

  const std::uint8_t* begin = next.frame.data();
  bool follows = last_end_ != nullptr && !next.lent && buffers_.back().get() == next.buffer.get() &&
                 begin >= last_end_ &&
                 // Less than a frame lies between, so that none does.
                 static_cast<std::size_t>(begin - last_end_) < wire::kEthernetHeaderSize;
  last_end_ = next.frame.empty() || next.lent ? nullptr : begin + next.frame.size();
  if (follows && size <= kMaxMoved) {
    iovec& last = payload_.back();
    std::memmove(static_cast<std::uint8_t*>(last.iov_base) + last.iov_len, next.payload.data(),
                 size);
    last.iov_len += size;
    return;
  }
  if (size > 0) {
    payload_.push_back({next.payload.data(), size});
    buffers_.push_back(next.buffer);
  }
  std::ranges::copy_if(next.lent.pieces, std::back_inserter(payload_),
                       [](const iovec& piece) { return piece.iov_len > 0; });
  buffers_.resize(payload_.size());
}

stack::InSegment SegmentJoiner::segment() const {
  return {.header = header_, .payload = payload_, .buffers = buffers_, .payload_size = size_};
}

void SegmentJoiner::clear() {
  payload_.clear();
  buffers_.clear();
  header_buffer_ = BufferRef();
  size_ = 0;
  last_end_ = nullptr;
}

}  // namespace sluice::flow
