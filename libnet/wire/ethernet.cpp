#include "wire/ethernet.h"

#include <algorithm>

namespace sluice::wire {

namespace {

MacAddress mac_at(const std::uint8_t* p) {
  std::array<std::uint8_t, MacAddress::kSize> bytes;
  std::copy_n(p, bytes.size(), bytes.begin());
  return MacAddress(bytes);
}

}  // namespace

std::optional<EthernetView> EthernetView::parse(ConstBytes frame) {
  if (frame.size() < kEthernetHeaderSize) return std::nullopt;
  return EthernetView(frame);
}

MacAddress EthernetView::destination() const {
  return mac_at(frame_.data());
}

MacAddress EthernetView::source() const {
  return mac_at(frame_.data() + MacAddress::kSize);
}

std::size_t EthernetHeader::emit(Bytes out) const {
  if (out.size() < size()) return 0;
  std::ranges::copy(destination.bytes(), out.begin());
  std::ranges::copy(source.bytes(), out.begin() + MacAddress::kSize);
  store_be16(out.data() + 12, static_cast<std::uint16_t>(type));
  return size();
}

MacAddress multicast_mac(const IpAddress& address) {
  auto b = address.bytes();
  if (address.is_v4()) {
    return MacAddress({0x01, 0x00, 0x5e, static_cast<std::uint8_t>(b[1] & 0x7f), b[2], b[3]});
  }
  return MacAddress({0x33, 0x33, b[12], b[13], b[14], b[15]});
}

}  // namespace sluice::wire
