#include "gateway/gateway.h"

#include <algorithm>
#include <array>

#include "base/log.h"
#include "wire/arp.h"
#include "wire/ethernet.h"
#include "wire/icmp.h"
#include "wire/udp.h"

namespace sluice::gateway {

using wire::EtherType;
using wire::IpProtocol;

Gateway::Gateway(const Config& config, const HashKey& key, Emit emit, LeaseStore* store,
                 TimePoint now)
    : config_(config),
      writer_(config_.mac, config_.mtu, std::move(emit)),
      book_(config_, counters_),
      resolver_(config_, book_, writer_, counters_),
      advertiser_(config_, writer_, key),
      dhcp_(config_, book_.leases4(), counters_),
      dhcpv6_(config_, book_.leases6(), counters_),
      store_(store),
      now_(now),
      save_after_(now),
      expire_due_(now + kExpireInterval),
      log_after_(now) {
  load(now);
}

Gateway::~Gateway() {
  if (store_ && lease_generation() != saved_generation_) save(now_);
}

void Gateway::link_up(TimePoint now) {
  book_.begin_session();
  advertiser_.start(now);
  tick(now);
}

bool Gateway::handle(ConstBytes frame, TimePoint now, Checksums checksums) {
  auto ethernet = wire::EthernetView::parse(frame);
  if (!ethernet) return false;
  MacAddress source = ethernet->source();
  MacAddress destination = ethernet->destination();
  if (destination != config_.mac && !destination.is_multicast()) return false;
  if (source.is_zero() || source.is_multicast() || source == config_.mac) {
    ++counters_.spoofed_mac;
    return true;
  }
  if (ethernet->type() == EtherType::arp) {
    on_arp(source, ethernet->payload(), now);
    return true;
  }
  if (ethernet->type() != EtherType::ipv4 && ethernet->type() != EtherType::ipv6) return false;
  auto packet = wire::Packet::parse(ethernet->payload());
  bool is_ipv4 = ethernet->type() == EtherType::ipv4;
  if (!packet || (packet->family() == Family::v4) != is_ipv4) return false;
  return handle_packet(source, *packet, now, checksums);
}

bool Gateway::handle_packet(const MacAddress& source, const wire::Packet& packet, TimePoint now,
                            Checksums checksums) {
  if (packet.is_fragment() || !packet.header_checksum_ok()) return false;
  return packet.family() == Family::v4 ? on_packet4(source, packet, now, checksums)
                                       : on_packet6(source, packet, now, checksums);
}

bool Gateway::on_packet4(const MacAddress& source, const wire::Packet& packet, TimePoint now,
                         Checksums checksums) {
  if (packet.protocol() == IpProtocol::igmp) return true;  // nothing here routes multicast
  if (packet.protocol() == IpProtocol::icmp) return on_echo(source, packet, now, checksums);
  if (packet.protocol() != IpProtocol::udp) return false;
  const IpAddress& to = packet.destination();
  if (to != config_.gateway4 && !to.is_limited_broadcast() && to != config_.subnet4.last()) {
    return false;
  }
  auto udp = wire::UdpView::parse(packet.payload());
  if (!udp || udp->destination_port() != wire::kDhcpServerPort) return false;
  on_dhcp(source, packet, now, checksums);
  return true;
}

bool Gateway::on_packet6(const MacAddress& source, const wire::Packet& packet, TimePoint now,
                         Checksums checksums) {
  if (packet.protocol() == IpProtocol::udp) {
    if (packet.destination() != wire::all_dhcp_servers() && !is_own(packet.destination())) {
      return false;
    }
    auto udp = wire::UdpView::parse(packet.payload());
    if (!udp || udp->destination_port() != wire::kDhcpv6ServerPort) return false;
    on_dhcpv6(source, packet, now, checksums);
    return true;
  }
  if (packet.protocol() != IpProtocol::icmpv6 || packet.payload().empty()) return false;
  std::uint8_t type = packet.payload()[0];
  if (type >= 133 && type <= 137) {
    on_ndp(source, packet, now);
    return true;
  }
  // Multicast listener reports (RFC 2710, RFC 3810): nothing here routes multicast.
  if ((type >= 130 && type <= 132) || type == 143) return true;
  return on_echo(source, packet, now, checksums);
}

void Gateway::claim(const MacAddress& mac, const IpAddress& address, TimePoint now) {
  if (book_.claim(mac, address, now)) resolver_.on_learnt();
}

void Gateway::on_arp(const MacAddress& source, ConstBytes payload, TimePoint now) {
  auto packet = wire::ArpPacket::parse(payload);
  if (!packet || packet->sender_mac != source) {
    ++counters_.arp_malformed;
    return;
  }
  // A probe claims nothing yet.
  if (!packet->sender_ip.is_unspecified()) claim(source, packet->sender_ip, now);
  bool ours = packet->target_ip == config_.gateway4 || packet->target_ip == config_.host_alias4;
  if (packet->operation != wire::ArpOperation::request || !ours) return;
  // Answered also for a sender that may not use its address: its packets are dropped anyway, and
  // it is easier to find out why with the router visible.
  ++counters_.arp_answered;
  writer_.arp(source, {.operation = wire::ArpOperation::reply,
                       .sender_mac = config_.mac,
                       .sender_ip = packet->target_ip,
                       .target_mac = source,
                       .target_ip = packet->sender_ip});
}

void Gateway::on_dhcp(const MacAddress& source, const wire::Packet& packet, TimePoint now,
                      Checksums checksums) {
  auto udp = wire::UdpView::parse(packet.payload());
  if (!udp || (checksums == Checksums::verify &&
               !udp->checksum_ok(packet.source(), packet.destination()))) {
    ++counters_.dhcp_malformed;
    return;
  }
  // The IP source is not judged: a client may come with an address of a former network, which a
  // NAK takes from it. What counts is its MAC.
  std::uint64_t exhausted = counters_.dhcp_exhausted;
  if (auto reply = dhcp_.answer(udp->payload(), source, now)) {
    writer_.udp(reply->mac, {config_.gateway4, wire::kDhcpServerPort},
                {reply->address, wire::kDhcpClientPort}, reply->payload);
  }
  after_dhcp(source, config_.subnet4, exhausted, now);
}

void Gateway::on_dhcpv6(const MacAddress& source, const wire::Packet& packet, TimePoint now,
                        Checksums checksums) {
  auto udp = wire::UdpView::parse(packet.payload());
  if (!udp || (checksums == Checksums::verify &&
               !udp->checksum_ok(packet.source(), packet.destination()))) {
    ++counters_.dhcp_malformed;
    return;
  }
  // Clients ask from their link-local address by multicast; unicast would need our leave (RFC 8415
  // section 18.4).
  if (packet.destination() != wire::all_dhcp_servers() || !packet.source().is_link_local() ||
      check_source(source, packet.source(), now) != SourceCheck::allowed) {
    ++counters_.dhcp_ignored;
    return;
  }
  std::uint64_t exhausted = counters_.dhcp_exhausted;
  if (auto reply = dhcpv6_.answer(udp->payload(), source, now)) {
    writer_.udp(source, {book_.link_local(), wire::kDhcpv6ServerPort},
                {packet.source(), wire::kDhcpv6ClientPort}, *reply);
  }
  after_dhcp(source, config_.prefix6, exhausted, now);
}

void Gateway::after_dhcp(const MacAddress& source, const IpPrefix& subnet,
                         std::uint64_t exhausted_before, TimePoint now) {
  if (counters_.dhcp_exhausted != exhausted_before && now >= log_after_) {
    log_after_ = now + kLogInterval;
    log(LogLevel::warn, "dhcp: no address of {} is left for {}", subnet.to_string(),
        source.to_string());
  }
  resolver_.on_learnt();
  // After the reply: the client may wait 100 ms only.
  save_if_due(now);
}

bool Gateway::on_echo(const MacAddress& source, const wire::Packet& packet, TimePoint now,
                      Checksums checksums) {
  if (!is_own(packet.destination())) return false;
  auto request = wire::IcmpView::parse(packet.family(), packet.payload());
  // Errors about flows that the gateway's address is an end of are for others.
  if (!request || !request->is_echo_request()) return false;
  if (check_source(source, packet.source(), now) != SourceCheck::allowed) return true;
  if (request->code() != 0 || (checksums == Checksums::verify &&
                               !request->checksum_ok(packet.source(), packet.destination()))) {
    ++counters_.echo_dropped;
    return true;
  }
  wire::IpHeader header;
  header.source = packet.destination();
  header.destination = packet.source();
  header.protocol = packet.protocol();
  header.traffic_class = packet.traffic_class();
  wire::IcmpEcho reply;
  reply.identifier = request->identifier();
  reply.sequence = request->sequence();
  reply.data = request->payload();
  ++counters_.echo_answered;
  writer_.icmp(source, header, reply);
  return true;
}

void Gateway::set_ipv6_default_route(DefaultRoute route, TimePoint now) {
  if (route == advertiser_.default_route()) return;
  advertiser_.set_default_route(route);
  advertiser_.start(now);
  tick(now);
}

std::uint64_t Gateway::lease_generation() const {
  return book_.leases4().generation() + book_.leases6().generation();
}

void Gateway::load(TimePoint now) {
  if (!store_) return;
  for (StoredLease& stored : store_->load()) {
    Lease lease;
    lease.mac = stored.mac;
    lease.address = stored.address;
    lease.state = Lease::State::bound;
    lease.expires = now + std::min<Duration>(stored.remaining, config_.lease);
    lease.name = std::move(stored.name);
    (lease.address.is_v4() ? book_.leases4() : book_.leases6()).restore(std::move(lease));
  }
  saved_generation_ = lease_generation();
}

void Gateway::save_if_due(TimePoint now) {
  now_ = now;
  if (store_ && now >= save_after_ && lease_generation() != saved_generation_) save(now);
}

void Gateway::save(TimePoint now) {
  std::vector<StoredLease> rows;
  for (Lease& lease : leases()) {
    if (lease.state == Lease::State::offered) continue;
    rows.push_back({lease.mac, lease.address, lease.expires - now, std::move(lease.name)});
  }
  save_after_ = now + kSaveInterval;
  saved_generation_ = lease_generation();
  Status status = store_->save(rows);
  if (status) return;
  ++counters_.lease_saves_failed;
  if (now < log_after_) return;
  log_after_ = now + kLogInterval;
  log(LogLevel::warn, "leases are not saved: {}", status.message());
}

void Gateway::tick(TimePoint now) {
  counters_.advertisements += static_cast<std::uint64_t>(advertiser_.tick(now));
  resolver_.tick(now);
  if (now >= expire_due_) {
    expire_due_ = now + kExpireInterval;
    book_.leases4().expire(now);
    book_.leases6().expire(now);
  }
  save_if_due(now);
}

TimePoint Gateway::next_due() const {
  TimePoint due = std::min({advertiser_.next_due(), resolver_.next_due(), expire_due_});
  if (store_ && lease_generation() != saved_generation_) due = std::min(due, save_after_);
  return due;
}

IpAddress Gateway::guest_address(Family family) const {
  for (const Lease& lease : leases()) {
    if (lease.address.family() == family && lease.state == Lease::State::bound) {
      return lease.address;
    }
  }
  bool v4 = family == Family::v4;
  std::optional<IpAddress> seen = book_.latest_in(v4 ? config_.subnet4 : config_.prefix6);
  if (seen) return *seen;
  if (v4) return config_.first_guest4;
  // A guest that skips duplicate address detection has said nothing from its SLAAC address yet; by
  // default that ends like its link-local one (RFC 4862 section 5.3 and 5.5.3).
  static const IpPrefix kLinkLocal(wire::link_local_from(MacAddress()), 64);
  auto local = book_.latest_in(kLinkLocal);
  if (!local) return config_.first_guest6;
  std::array<std::uint8_t, 16> bytes;
  std::copy_n(config_.prefix6.address().bytes().begin(), 8, bytes.begin());
  std::copy_n(local->bytes().begin() + 8, 8, bytes.begin() + 8);
  return IpAddress::v6(bytes);
}

std::vector<Lease> Gateway::leases() const {
  std::vector<Lease> all = book_.leases4().leases();
  std::ranges::move(book_.leases6().leases(), std::back_inserter(all));
  return all;
}

}  // namespace sluice::gateway
