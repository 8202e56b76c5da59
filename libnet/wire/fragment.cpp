#include "wire/fragment.h"

#include <algorithm>

#include "wire/checksum.h"

namespace sluice::wire {

namespace {

constexpr std::uint16_t kIpv4MoreFragments = 0x2000;

void make_ipv4_fragment(FragmentSlice& slice, bool more, std::uint32_t id) {
  std::uint8_t* p = slice.header_bytes.data();
  store_be16(p + 4, static_cast<std::uint16_t>(id));
  auto place = static_cast<std::uint16_t>(slice.payload_offset / 8);
  store_be16(p + 6, static_cast<std::uint16_t>(place | (more ? kIpv4MoreFragments : 0)));
  store_be16(p + 10, 0);
  Checksum sum;
  sum.add(slice.header());
  store_be16(p + 10, sum.value());
}

void make_ipv6_fragment(FragmentSlice& slice, IpProtocol protocol, bool more, std::uint32_t id) {
  std::uint8_t* p = slice.header_bytes.data() + kIpv6HeaderSize;
  p[0] = static_cast<std::uint8_t>(protocol);
  p[1] = 0;
  store_be16(p + 2, static_cast<std::uint16_t>(slice.payload_offset | (more ? 1 : 0)));
  store_be32(p + 4, id);
  slice.header_size += kIpv6FragmentHeaderSize;
}

}  // namespace

std::optional<Fragmenter> Fragmenter::make(const IpHeader& header, std::size_t mtu,
                                           std::uint32_t id) {
  bool v4 = header.source.is_v4();
  std::array<std::uint8_t, kIpv6HeaderSize> probe;
  if (mtu < (v4 ? kMinIpv4Mtu : kMinIpv6Mtu) || header.emit(probe) == 0) return std::nullopt;
  bool cut = header.size() + header.payload_size > mtu;
  if (!cut) return Fragmenter(header, header.payload_size, cut, id);
  std::size_t room = mtu - header.size() - (v4 ? 0 : kIpv6FragmentHeaderSize);
  return Fragmenter(header, room / 8 * 8, cut, id);
}

std::size_t Fragmenter::count() const {
  return cut_ ? (header_.payload_size + step_ - 1) / step_ : 1;
}

std::optional<FragmentSlice> Fragmenter::next() {
  if (done_) return std::nullopt;
  FragmentSlice slice;
  slice.payload_offset = at_;
  slice.payload_size = std::min(step_, header_.payload_size - at_);
  at_ += slice.payload_size;
  bool more = at_ < header_.payload_size;
  done_ = !more;

  IpHeader header = header_;
  header.payload_size = slice.payload_size;
  bool v6 = header_.source.is_v6();
  if (cut_ && v6) {
    header.protocol = IpProtocol::fragment;
    header.payload_size += kIpv6FragmentHeaderSize;
  }
  slice.header_size = header.emit(slice.header_bytes);
  if (cut_ && v6) make_ipv6_fragment(slice, header_.protocol, more, id_);
  if (cut_ && !v6) make_ipv4_fragment(slice, more, id_);
  return slice;
}

std::size_t slice_pieces(std::span<const iovec> pieces, std::size_t offset, std::size_t size,
                         std::span<iovec> out) {
  std::size_t used = 0;
  for (const iovec& piece : pieces) {
    if (size == 0) break;
    if (offset >= piece.iov_len) {
      offset -= piece.iov_len;
      continue;
    }
    if (used == out.size()) return 0;
    std::size_t n = std::min(size, piece.iov_len - offset);
    out[used++] = {static_cast<std::uint8_t*>(piece.iov_base) + offset, n};
    offset = 0;
    size -= n;
  }
  return size == 0 ? used : 0;
}

}  // namespace sluice::wire
