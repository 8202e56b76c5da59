#include "wire/ipv6.h"

namespace sluice::wire {

namespace {

constexpr std::size_t kNextHeaderAt = 6;

/// RFC 8200 section 4.2. The two high bits of a type that we don't know say what to do: 0 is to
/// skip it, all others to discard the packet. We know none but padding.
bool extension_options_acceptable(ConstBytes options) {
  while (!options.empty()) {
    std::uint8_t type = options[0];
    if (type == 0) {  // Pad1 has no length
      options = options.subspan(1);
      continue;
    }
    if (options.size() < 2 || std::size_t{2} + options[1] > options.size()) return false;
    if (type >> 6 != 0) return false;
    options = options.subspan(std::size_t{2} + options[1]);
  }
  return true;
}

bool is_extension(IpProtocol protocol) {
  return protocol == IpProtocol::hop_by_hop || protocol == IpProtocol::routing ||
         protocol == IpProtocol::fragment || protocol == IpProtocol::destination_options;
}

}  // namespace

std::optional<Ipv6View> Ipv6View::parse(ConstBytes packet) {
  if (packet.size() < kIpv6HeaderSize || packet[0] >> 4 != 6) return std::nullopt;
  std::size_t total = kIpv6HeaderSize + load_be16(packet.data() + 4);
  if (total > packet.size()) return std::nullopt;
  Ipv6View view(packet.first(total));
  if (!view.walk()) return std::nullopt;
  return view;
}

bool Ipv6View::walk() {
  protocol_ = static_cast<IpProtocol>(packet_[kNextHeaderAt]);
  std::size_t announced_at = kNextHeaderAt;
  bool fragment_seen = false;
  for (int count = 0; is_extension(protocol_); ++count) {
    ConstBytes rest = packet_.subspan(header_size_);
    if (count == kMaxExtensionHeaders || rest.size() < 8) return false;
    std::size_t size = 8;
    if (protocol_ == IpProtocol::fragment) {
      if (fragment_seen) return false;
      fragment_seen = true;
    } else {
      size = (std::size_t{rest[1]} + 1) * 8;
      if (size > rest.size()) return false;
      if (protocol_ == IpProtocol::routing) {
        if (rest[2] == 0 || rest[3] != 0) return false;
      } else {
        if (protocol_ == IpProtocol::hop_by_hop && count != 0) return false;
        if (!extension_options_acceptable(rest.subspan(2, size - 2))) return false;
      }
    }
    bool is_true_fragment =
        protocol_ == IpProtocol::fragment && (load_be16(rest.data() + 2) & 0xfff9) != 0;
    if (is_true_fragment) {
      fragment_header_ = header_size_;
      announced_at_ = announced_at;
    }
    announced_at = header_size_;
    header_size_ += size;
    protocol_ = static_cast<IpProtocol>(rest[0]);
    if (is_true_fragment) break;
  }
  return true;
}

}  // namespace sluice::wire
