// A hostile frame through every view; each accessor of what parses is read.

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "check.h"
#include "wire/arp.h"
#include "wire/ethernet.h"
#include "wire/icmp.h"
#include "wire/ip.h"
#include "wire/ipv4.h"
#include "wire/ipv6.h"
#include "wire/ndp.h"
#include "wire/tcp.h"
#include "wire/udp.h"

using namespace sluice;
using namespace sluice::wire;

namespace {

/// Reads every byte, so that a span beyond the input is found.
std::uint64_t touch(ConstBytes bytes) {
  return checksum_add(bytes, 0);
}

bool inside(ConstBytes part, ConstBytes whole) {
  return part.empty() ||
         (part.data() >= whole.data() && part.data() + part.size() <= whole.data() + whole.size());
}

volatile std::uint64_t sink;

void tcp(const Packet& packet) {
  auto view = TcpView::parse(packet.payload());
  if (!view) return;
  FUZZ_CHECK(inside(view->payload(), packet.bytes()));
  FUZZ_CHECK(inside(view->options(), packet.bytes()));
  FUZZ_CHECK(view->sequence_length() >= view->payload().size());
  sink = view->source_port().value() + view->destination_port().value() + view->sequence() +
         view->acknowledgment() + view->window() + view->checksum() + view->urgent_pointer() +
         view->mss().value_or(0) + view->window_scale().value_or(0) + touch(view->payload()) +
         (view->sack_permitted() ? 1 : 0) + (view->has_timestamps() ? 1 : 0) +
         (view->urgent_beyond_payload() ? 1 : 0) + (view->flags().are_sane() ? 1 : 0) +
         (view->checksum_ok(packet.source(), packet.destination()) ? 1 : 0);
  auto reset = reset_for(*view);
  FUZZ_CHECK(reset.has_value() != view->flags().rst());
}

void udp(const Packet& packet) {
  auto view = UdpView::parse(packet.payload());
  if (!view) return;
  FUZZ_CHECK(inside(view->bytes(), packet.bytes()));
  sink = view->source_port().value() + view->destination_port().value() + touch(view->payload()) +
         (view->checksum_ok(packet.source(), packet.destination()) ? 1 : 0);
}

void ndp(const Packet& packet) {
  auto view = NdpView::parse(packet);
  if (!view) return;
  auto options = view->options();
  while (auto option = options.next()) {
    FUZZ_CHECK(inside(option->body, packet.bytes()));
    FUZZ_CHECK(option->body.size() >= 6);
    sink = touch(option->body) + (NdpPrefix::parse(*option) ? 1 : 0);
  }
  sink = view->target().bytes()[0] + view->mtu().value_or(0) + view->router_lifetime_seconds() +
         view->advertised_hop_limit() + (view->source_link_address() ? 1 : 0) +
         (view->target_link_address() ? 1 : 0) + (view->hop_limit_ok() ? 1 : 0) +
         (view->is_from_router() ? 1 : 0) + (view->is_solicited() ? 1 : 0) +
         (view->is_override() ? 1 : 0) + (view->is_managed() ? 1 : 0) +
         (view->is_other_config() ? 1 : 0);
}

void icmp(const Packet& packet) {
  auto view = IcmpView::parse(packet.family(), packet.payload());
  if (!view) return;
  sink = view->type() + view->code() + view->identifier() + view->sequence() + view->error_value() +
         touch(view->payload()) +
         (view->checksum_ok(packet.source(), packet.destination()) ? 1 : 0);
  FUZZ_CHECK(!view->error() || view->is_error());
  if (auto quoted = parse_quoted(packet.family(), view->payload())) {
    FUZZ_CHECK(quoted->transport.size() >= 8 && inside(quoted->transport, packet.bytes()));
  }
}

void errors_about(const Packet& packet) {
  if (!may_answer_with_error(packet)) return;
  std::array<std::uint8_t, kMaxIcmpv6Error> out;
  std::size_t size = emit_icmp_error(out, packet.destination(), packet.source(), packet.bytes(),
                                     IcmpError::port_unreachable);
  FUZZ_CHECK(size > 0);
  auto error = Packet::parse(ConstBytes(out).first(size));
  FUZZ_CHECK(error && error->destination() == packet.source());
  FUZZ_CHECK(!may_answer_with_error(*error));
}

void headers(ConstBytes bytes) {
  if (auto v4 = Ipv4View::parse(bytes)) {
    FUZZ_CHECK(v4->header().size() + v4->payload().size() == v4->bytes().size());
    sink = touch(v4->options()) + v4->id() + v4->fragment_offset() + (v4->checksum_ok() ? 1 : 0);
  }
  if (auto v6 = Ipv6View::parse(bytes)) {
    FUZZ_CHECK(v6->header_size() + v6->payload().size() == v6->bytes().size());
    sink = v6->flow_label() + v6->traffic_class() + (v6->has_extensions() ? 1 : 0);
    if (v6->is_fragment()) {
      FUZZ_CHECK(v6->fragment_announced_at() < v6->fragment_header());
      FUZZ_CHECK(v6->bytes()[v6->fragment_announced_at()] == 44);
      FUZZ_CHECK(v6->fragment_offset() != 0 || v6->more_fragments());
      sink = v6->fragment_id();
    }
  }
}

void ip(ConstBytes bytes) {
  headers(bytes);
  auto packet = Packet::parse(bytes);
  if (!packet) return;
  FUZZ_CHECK(inside(packet->bytes(), bytes));
  FUZZ_CHECK(packet->header_size() + packet->payload().size() == packet->total_size());
  sink = packet->ttl() + packet->traffic_class() + (packet->has_options() ? 1 : 0) +
         (packet->dont_fragment() ? 1 : 0) + (packet->header_checksum_ok() ? 1 : 0);
  errors_about(*packet);
  tcp(*packet);
  udp(*packet);
  icmp(*packet);
  ndp(*packet);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  auto frame = EthernetView::parse({data, size});
  if (!frame) return 0;
  sink = frame->source().bytes()[0] + frame->destination().bytes()[0] +
         static_cast<std::uint16_t>(frame->type());
  if (auto arp = ArpPacket::parse(frame->payload())) {
    std::array<std::uint8_t, ArpPacket::size()> out;
    FUZZ_CHECK(arp->emit(out) == out.size());
    FUZZ_CHECK(std::memcmp(out.data(), frame->payload().data(), out.size()) == 0);
  }
  ip(frame->payload());

  // NDP is behind a checksum that a fuzzer does not find: put the right one in.
  std::array<std::uint8_t, 2048> copy;
  if (frame->payload().size() > copy.size()) return 0;
  std::memcpy(copy.data(), frame->payload().data(), frame->payload().size());
  Bytes bytes = Bytes(copy).first(frame->payload().size());
  auto packet = Packet::parse(bytes);
  if (packet && packet->protocol() == IpProtocol::icmpv6 && packet->payload().size() >= 8) {
    Bytes message = bytes.subspan(packet->header_size(), packet->payload().size());
    store_be16(message.data() + 2, 0);
    Checksum sum =
        pseudo_header(packet->source(), packet->destination(), IpProtocol::icmpv6, message.size());
    sum.add(message);
    store_be16(message.data() + 2, sum.value());
    ndp(*packet);
  }
  return 0;
}
