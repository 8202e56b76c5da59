#include <algorithm>
#include <string_view>

#include "wire/checksum.h"
#include "wire/ndp.h"

namespace sluice::wire {

namespace {

// The largest option: a length byte of 255, in units of 8 (RFC 4861 section 4.6).
constexpr std::size_t kMaxOption = 255 * 8;
constexpr std::size_t kDnsOptionHeader = 8;
constexpr std::size_t kMaxDnsServers = (kMaxOption - kDnsOptionHeader) / 16;

/// Writes front to back into memory that is known to be long enough.
class Cursor {
 public:
  explicit Cursor(Bytes out) : out_(out) {}
  void u8(std::uint8_t value) { out_[at_++] = value; }
  void u16(std::uint16_t value) {
    store_be16(&out_[at_], value);
    at_ += 2;
  }
  void u32(std::uint32_t value) {
    store_be32(&out_[at_], value);
    at_ += 4;
  }
  void bytes(ConstBytes data) {
    std::ranges::copy(data, out_.begin() + static_cast<std::ptrdiff_t>(at_));
    at_ += data.size();
  }
  void zeros_until(std::size_t end) {
    while (at_ < end) u8(0);
  }
  std::size_t at() const { return at_; }

 private:
  Bytes out_;
  std::size_t at_ = 0;
};

void begin(Cursor& to, NdpType type) {
  to.u8(static_cast<std::uint8_t>(type));
  to.u8(0);
  to.u16(0);
}

void begin_option(Cursor& to, NdpOptionType type, std::size_t size) {
  to.u8(static_cast<std::uint8_t>(type));
  to.u8(static_cast<std::uint8_t>(size / 8));
}

void link_address(Cursor& to, NdpOptionType type, const MacAddress& mac) {
  begin_option(to, type, 8);
  to.bytes(mac.bytes());
}

/// IPv4 has no place in these messages; it becomes ::, so that sizes stay right.
void address(Cursor& to, const IpAddress& address) {
  to.bytes((address.is_v6() ? address : IpAddress::any(Family::v6)).bytes());
}

std::size_t finish(Bytes out, const Cursor& written, const IpAddress& source,
                   const IpAddress& destination) {
  Bytes message = out.first(written.at());
  Checksum sum = pseudo_header(source, destination, IpProtocol::icmpv6, message.size());
  sum.add(message);
  store_be16(message.data() + 2, sum.value());
  return message.size();
}

/// RFC 1035 section 3.1, uncompressed: one length byte more than the dots, and the root's.
std::size_t encoded_size(const DomainName& name) {
  return name.is_root() ? 1 : name.text().size() + 2;
}

void domain(Cursor& to, const DomainName& name) {
  std::string_view rest = name.text();
  while (!rest.empty()) {
    std::string_view label = rest.substr(0, rest.find('.'));
    to.u8(static_cast<std::uint8_t>(label.size()));
    for (char c : label) to.u8(static_cast<std::uint8_t>(c));
    rest.remove_prefix(std::min(rest.size(), label.size() + 1));
  }
  to.u8(0);
}

struct SearchList {
  std::size_t count = 0;
  std::size_t option_size = 0;  ///< Padded; 0 without any domain.
};

SearchList fitting(std::span<const DomainName> domains) {
  SearchList list;
  std::size_t size = kDnsOptionHeader;
  for (const DomainName& name : domains) {
    if (size + encoded_size(name) > kMaxOption) break;
    size += encoded_size(name);
    ++list.count;
  }
  if (list.count > 0) list.option_size = (size + 7) / 8 * 8;
  return list;
}

}  // namespace

std::size_t RouterSolicit::emit(Bytes out, const IpAddress& source,
                                const IpAddress& destination) const {
  if (out.size() < size()) return 0;
  Cursor to(out);
  begin(to, NdpType::router_solicit);
  to.u32(0);
  if (source_mac) link_address(to, NdpOptionType::source_link_address, *source_mac);
  return finish(out, to, source, destination);
}

std::size_t NeighborSolicit::emit(Bytes out, const IpAddress& source,
                                  const IpAddress& destination) const {
  if (out.size() < size()) return 0;
  Cursor to(out);
  begin(to, NdpType::neighbor_solicit);
  to.u32(0);
  address(to, target);
  if (source_mac) link_address(to, NdpOptionType::source_link_address, *source_mac);
  return finish(out, to, source, destination);
}

std::size_t NeighborAdvert::emit(Bytes out, const IpAddress& source,
                                 const IpAddress& destination) const {
  if (out.size() < size()) return 0;
  Cursor to(out);
  begin(to, NdpType::neighbor_advert);
  to.u32((from_router ? 1u << 31 : 0) | (solicited ? 1u << 30 : 0) |
         (override_cache ? 1u << 29 : 0));
  address(to, target);
  link_address(to, NdpOptionType::target_link_address, target_mac);
  return finish(out, to, source, destination);
}

std::size_t RouterAdvert::size() const {
  std::size_t servers = std::min(dns_servers.size(), kMaxDnsServers);
  return 16 + (source_mac ? 8 : 0) + (mtu ? 8 : 0) + prefixes.size() * 32 +
         (servers > 0 ? kDnsOptionHeader + servers * 16 : 0) + fitting(search_domains).option_size;
}

std::size_t RouterAdvert::emit(Bytes out, const IpAddress& source,
                               const IpAddress& destination) const {
  if (out.size() < size()) return 0;
  Cursor to(out);
  begin(to, NdpType::router_advert);
  to.u8(hop_limit);
  to.u8(static_cast<std::uint8_t>((managed ? 0x80 : 0) | (other_config ? 0x40 : 0)));
  to.u16(lifetime_seconds);
  to.u32(reachable_ms);
  to.u32(retransmit_ms);
  if (source_mac) link_address(to, NdpOptionType::source_link_address, *source_mac);
  if (mtu) {
    begin_option(to, NdpOptionType::mtu, 8);
    to.u16(0);
    to.u32(*mtu);
  }
  for (const NdpPrefix& prefix : prefixes) {
    begin_option(to, NdpOptionType::prefix_information, 32);
    to.u8(static_cast<std::uint8_t>(prefix.prefix.length()));
    to.u8(static_cast<std::uint8_t>((prefix.on_link ? 0x80 : 0) | (prefix.autonomous ? 0x40 : 0)));
    to.u32(prefix.valid_seconds);
    to.u32(prefix.preferred_seconds);
    to.u32(0);
    address(to, prefix.prefix.address());
  }
  auto servers = dns_servers.first(std::min(dns_servers.size(), kMaxDnsServers));
  if (!servers.empty()) {
    begin_option(to, NdpOptionType::rdnss, kDnsOptionHeader + servers.size() * 16);
    to.u16(0);
    to.u32(dns_lifetime_seconds);
    for (const IpAddress& server : servers) address(to, server);
  }
  SearchList list = fitting(search_domains);
  if (list.count > 0) {
    std::size_t end = to.at() + list.option_size;
    begin_option(to, NdpOptionType::dnssl, list.option_size);
    to.u16(0);
    to.u32(dns_lifetime_seconds);
    for (const DomainName& name : search_domains.first(list.count)) domain(to, name);
    to.zeros_until(end);
  }
  return finish(out, to, source, destination);
}

}  // namespace sluice::wire
