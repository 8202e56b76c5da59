#include "wire/ndp.h"

#include <algorithm>

#include "wire/checksum.h"

namespace sluice::wire {

namespace {

constexpr std::size_t kAdvertHeader = 16;    // router advert before its options
constexpr std::size_t kSolicitHeader = 8;    // router solicitation
constexpr std::size_t kNeighborHeader = 24;  // neighbour solicitation and advert
constexpr std::size_t kRedirectHeader = 40;

std::size_t header_size_of(NdpType type) {
  switch (type) {
    case NdpType::router_solicit:
      return kSolicitHeader;
    case NdpType::router_advert:
      return kAdvertHeader;
    case NdpType::neighbor_solicit:
    case NdpType::neighbor_advert:
      return kNeighborHeader;
    case NdpType::redirect:
      return kRedirectHeader;
  }
  return 0;
}

bool is_solicited_node(const IpAddress& address) {
  static const IpPrefix group(solicited_node(IpAddress::any(Family::v6)), 104);
  return group.contains(address);
}

}  // namespace

bool NdpOptions::are_valid(ConstBytes options) {
  while (!options.empty()) {
    if (options.size() < 8) return false;
    std::size_t size = std::size_t{options[1]} * 8;
    if (size == 0 || size > options.size()) return false;
    options = options.subspan(size);
  }
  return true;
}

std::optional<NdpOption> NdpOptions::next() {
  if (rest_.empty()) return std::nullopt;
  ConstBytes option = rest_.first(std::size_t{rest_[1]} * 8);
  rest_ = rest_.subspan(option.size());
  return NdpOption{static_cast<NdpOptionType>(option[0]), option.subspan(2)};
}

std::optional<NdpPrefix> NdpPrefix::parse(const NdpOption& option) {
  ConstBytes body = option.body;
  if (option.type != NdpOptionType::prefix_information || body.size() != 30) return std::nullopt;
  if (body[0] > 128) return std::nullopt;
  NdpPrefix prefix;
  prefix.prefix = IpPrefix(IpAddress::from_bytes(body.subspan(14, 16)), body[0]);
  prefix.on_link = (body[1] & 0x80) != 0;
  prefix.autonomous = (body[1] & 0x40) != 0;
  prefix.valid_seconds = load_be32(body.data() + 2);
  prefix.preferred_seconds = load_be32(body.data() + 6);
  return prefix;
}

NdpView::NdpView(const Packet& packet, std::size_t options_at)
    : message_(packet.payload()),
      source_(packet.source()),
      destination_(packet.destination()),
      options_at_(options_at),
      hop_limit_(packet.ttl()) {}

std::optional<NdpView> NdpView::parse(const Packet& packet) {
  if (packet.family() != Family::v6 || packet.protocol() != IpProtocol::icmpv6 ||
      packet.is_fragment()) {
    return std::nullopt;
  }
  ConstBytes message = packet.payload();
  if (message.size() < kSolicitHeader || message[1] != 0) return std::nullopt;
  std::size_t header = header_size_of(static_cast<NdpType>(message[0]));
  if (header == 0 || message.size() < header) return std::nullopt;
  Checksum sum =
      pseudo_header(packet.source(), packet.destination(), IpProtocol::icmpv6, message.size());
  sum.add(message);
  if (!sum.is_valid() || !NdpOptions::are_valid(message.subspan(header))) return std::nullopt;
  NdpView view(packet, header);
  if (!view.fits_its_type()) return std::nullopt;
  return view;
}

bool NdpView::fits_its_type() const {
  bool has_source_option = source_link_address().has_value();
  switch (type()) {
    case NdpType::router_solicit:
      return !source_.is_unspecified() || !has_source_option;
    case NdpType::neighbor_solicit:
      if (target().is_multicast()) return false;
      if (!source_.is_unspecified()) return true;
      return is_solicited_node(destination_) && !has_source_option;
    case NdpType::neighbor_advert:
      return !target().is_multicast() && !(is_solicited() && destination_.is_multicast());
    case NdpType::router_advert:
    case NdpType::redirect:
      return source_.is_link_local();
  }
  return false;
}

IpAddress NdpView::target() const {
  if (options_at_ < kNeighborHeader) return IpAddress::any(Family::v6);
  return IpAddress::from_bytes(message_.subspan(8, 16));
}

std::optional<MacAddress> NdpView::link_address(NdpOptionType type) const {
  NdpOptions all = options();
  while (auto option = all.next()) {
    if (option->type != type || option->body.size() != MacAddress::kSize) continue;
    std::array<std::uint8_t, MacAddress::kSize> bytes;
    std::ranges::copy(option->body, bytes.begin());
    return MacAddress(bytes);
  }
  return std::nullopt;
}

std::optional<MacAddress> NdpView::source_link_address() const {
  return link_address(NdpOptionType::source_link_address);
}

std::optional<MacAddress> NdpView::target_link_address() const {
  return link_address(NdpOptionType::target_link_address);
}

std::uint8_t NdpView::advertised_hop_limit() const {
  return type() == NdpType::router_advert ? message_[4] : std::uint8_t{0};
}

std::uint16_t NdpView::router_lifetime_seconds() const {
  return type() == NdpType::router_advert ? load_be16(message_.data() + 6) : std::uint16_t{0};
}

std::optional<std::uint32_t> NdpView::mtu() const {
  NdpOptions all = options();
  while (auto option = all.next()) {
    if (option->type == NdpOptionType::mtu && option->body.size() == 6) {
      return load_be32(option->body.data() + 2);
    }
  }
  return std::nullopt;
}

IpAddress solicited_node(const IpAddress& address) {
  std::array<std::uint8_t, 16> bytes{0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 0, 0};
  std::ranges::copy(address.bytes().last(3), bytes.begin() + 13);
  return IpAddress::v6(bytes);
}

IpAddress all_nodes() {
  return IpAddress::v6({0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1});
}

IpAddress all_routers() {
  return IpAddress::v6({0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2});
}

IpAddress link_local_from(const MacAddress& mac) {
  const auto& m = mac.bytes();
  auto flipped = static_cast<std::uint8_t>(m[0] ^ 0x02);
  return IpAddress::v6(
      {0xfe, 0x80, 0, 0, 0, 0, 0, 0, flipped, m[1], m[2], 0xff, 0xfe, m[3], m[4], m[5]});
}

}  // namespace sluice::wire
