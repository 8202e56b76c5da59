// What an emitter writes, the view of the same format reads back unchanged.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "check.h"
#include "wire/ethernet.h"
#include "wire/icmp.h"
#include "wire/ip.h"
#include "wire/ndp.h"
#include "wire/tcp.h"
#include "wire/udp.h"

using namespace sluice;
using namespace sluice::wire;

namespace {

/// Values from the input, zeros once it is used up.
class Source {
 public:
  explicit Source(ConstBytes rest) : rest_(rest) {}
  std::uint8_t u8() {
    if (rest_.empty()) return 0;
    std::uint8_t value = rest_[0];
    rest_ = rest_.subspan(1);
    return value;
  }
  std::uint16_t u16() { return static_cast<std::uint16_t>(u8() << 8 | u8()); }
  std::uint32_t u32() { return static_cast<std::uint32_t>(u16()) << 16 | u16(); }
  bool flag() { return (u8() & 1) != 0; }
  IpAddress address(Family family) {
    std::array<std::uint8_t, 16> bytes{};
    if (family == Family::v4) return IpAddress::v4(u32());
    for (auto& byte : bytes) byte = u8();
    return IpAddress::v6(bytes);
  }
  MacAddress mac() {
    std::array<std::uint8_t, MacAddress::kSize> bytes{};
    for (auto& byte : bytes) byte = u8();
    return MacAddress(bytes);
  }
  ConstBytes rest() const { return rest_; }

 private:
  ConstBytes rest_;
};

std::array<std::uint8_t, 8192> out;

void ip_and_tcp(Source& in, Family family) {
  IpAddress source = in.address(family), destination = in.address(family);
  TcpHeader header;
  header.source_port = Port(in.u16());
  header.destination_port = Port(in.u16());
  header.sequence = in.u32();
  header.acknowledgment = in.u32();
  header.flags = {in.u8()};
  header.window = in.u16();
  if (in.flag()) header.mss = in.u16();
  if (in.flag()) header.window_scale = in.u8() % (kMaxWindowScale + 1);
  header.sack_permitted = in.flag();
  IpHeader ip;
  ip.source = source;
  ip.destination = destination;
  ip.protocol = IpProtocol::tcp;
  ip.ttl = in.u8();
  ip.traffic_class = in.u8();
  ip.id = in.u16();
  ip.dont_fragment = in.flag();
  ConstBytes payload = in.rest();
  ip.payload_size = header.size() + payload.size();

  std::size_t at = ip.emit(out);
  FUZZ_CHECK(at == ip.size());
  Checksum rest = pseudo_header(source, destination, IpProtocol::tcp, ip.payload_size);
  rest.add(payload);
  FUZZ_CHECK(header.emit(Bytes(out).subspan(at), rest) == header.size());
  std::ranges::copy(payload, out.begin() + static_cast<std::ptrdiff_t>(at + header.size()));

  auto packet = Packet::parse(ConstBytes(out).first(at + ip.payload_size));
  FUZZ_CHECK(packet && packet->header_checksum_ok() && !packet->is_fragment());
  FUZZ_CHECK(packet->source() == source && packet->destination() == destination);
  FUZZ_CHECK(packet->ttl() == ip.ttl && packet->traffic_class() == ip.traffic_class);
  auto view = TcpView::parse(packet->payload());
  FUZZ_CHECK(view && view->checksum_ok(source, destination));
  FUZZ_CHECK(view->sequence() == header.sequence && view->flags() == header.flags);
  FUZZ_CHECK(view->acknowledgment() == header.acknowledgment && view->window() == header.window);
  FUZZ_CHECK(view->mss() == header.mss && view->window_scale() == header.window_scale);
  FUZZ_CHECK(view->sack_permitted() == header.sack_permitted);
  FUZZ_CHECK(std::ranges::equal(view->payload(), payload));
}

void udp(Source& in, Family family) {
  Endpoint from{in.address(family), Port(in.u16())}, to{in.address(family), Port(in.u16())};
  ConstBytes payload = in.rest();
  std::size_t size = emit_udp(out, from, to, payload);
  auto packet = Packet::parse(ConstBytes(out).first(size));
  FUZZ_CHECK(packet && packet->total_size() == size);
  auto view = UdpView::parse(packet->payload());
  FUZZ_CHECK(view && view->checksum() != 0 && view->checksum_ok(from.address, to.address));
  FUZZ_CHECK(view->source_port() == from.port && view->destination_port() == to.port);
  FUZZ_CHECK(std::ranges::equal(view->payload(), payload));
}

void icmp(Source& in, Family family) {
  IpAddress from = in.address(family), to = in.address(family);
  IcmpEcho echo{in.flag() ? EchoKind::request : EchoKind::reply, in.u16(), in.u16(), in.rest()};
  std::size_t size = echo.emit(out, from, to);
  auto view = IcmpView::parse(family, ConstBytes(out).first(size));
  FUZZ_CHECK(view && view->checksum_ok(from, to));
  FUZZ_CHECK(view->is_echo_request() == (echo.kind == EchoKind::request));
  FUZZ_CHECK(view->is_echo_reply() != view->is_echo_request());
  FUZZ_CHECK(view->identifier() == echo.identifier && view->sequence() == echo.sequence);
  FUZZ_CHECK(std::ranges::equal(view->payload(), echo.data));

  auto error = static_cast<IcmpError>(echo.identifier % 9);
  size = emit_icmp_error(out, from, to, echo.data, error, echo.sequence);
  auto packet = Packet::parse(ConstBytes(out).first(size));
  FUZZ_CHECK(packet && size <= (family == Family::v4 ? kMaxIcmpv4Error : kMaxIcmpv6Error));
  view = IcmpView::parse(family, packet->payload());
  FUZZ_CHECK(view && view->error() == error && view->checksum_ok(from, to));
}

void ndp(Source& in) {
  IpAddress from = link_local_from(in.mac()), to = all_nodes();
  IpHeader ip;
  ip.source = from;
  ip.destination = to;
  ip.protocol = IpProtocol::icmpv6;
  ip.ttl = 255;
  RouterAdvert advert;
  advert.hop_limit = in.u8();
  advert.managed = in.flag();
  advert.other_config = in.flag();
  advert.lifetime_seconds = in.u16();
  if (in.flag()) advert.source_mac = in.mac();
  if (in.flag()) advert.mtu = in.u32();
  std::array<NdpPrefix, 3> prefixes;
  for (auto& prefix : prefixes) {
    prefix.prefix = IpPrefix(in.address(Family::v6), in.u8());
    prefix.on_link = in.flag();
    prefix.autonomous = in.flag();
    prefix.valid_seconds = in.u32();
  }
  advert.prefixes = std::span(prefixes).first(in.u8() % 4);
  std::array<IpAddress, 2> servers{in.address(Family::v6), in.address(Family::v6)};
  advert.dns_servers = std::span(servers).first(in.u8() % 3);
  ip.payload_size = advert.size();
  std::size_t at = ip.emit(out);
  FUZZ_CHECK(advert.emit(Bytes(out).subspan(at), from, to) == advert.size());
  auto packet = Packet::parse(ConstBytes(out).first(at + advert.size()));
  FUZZ_CHECK(packet);
  auto view = NdpView::parse(*packet);
  FUZZ_CHECK(view && view->hop_limit_ok() && view->type() == NdpType::router_advert);
  FUZZ_CHECK(view->source_link_address() == advert.source_mac && view->mtu() == advert.mtu);
  FUZZ_CHECK(view->is_managed() == advert.managed);
  FUZZ_CHECK(view->router_lifetime_seconds() == advert.lifetime_seconds);
  std::size_t seen = 0;
  auto options = view->options();
  while (auto option = options.next()) {
    if (option->type != NdpOptionType::prefix_information) continue;
    auto prefix = NdpPrefix::parse(*option);
    FUZZ_CHECK(prefix && prefix->prefix == prefixes[seen].prefix);
    FUZZ_CHECK(prefix->on_link == prefixes[seen].on_link);
    FUZZ_CHECK(prefix->valid_seconds == prefixes[seen].valid_seconds);
    ++seen;
  }
  FUZZ_CHECK(seen == advert.prefixes.size());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Source in({data, std::min<std::size_t>(size, 4096)});
  std::uint8_t choice = in.u8();
  Family family = (choice & 1) != 0 ? Family::v6 : Family::v4;
  switch (choice >> 1 & 3) {
    case 0:
      ip_and_tcp(in, family);
      break;
    case 1:
      udp(in, family);
      break;
    case 2:
      icmp(in, family);
      break;
    default:
      ndp(in);
  }
  return 0;
}
