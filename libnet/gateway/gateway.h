#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include <net/address.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/loop.h"
#include "gateway/address_book.h"
#include "gateway/config.h"
#include "gateway/counters.h"
#include "gateway/dhcp_server.h"
#include "gateway/dhcpv6_server.h"
#include "gateway/frame_writer.h"
#include "gateway/lease_store.h"
#include "gateway/resolver.h"
#include "gateway/router_advertiser.h"
#include "wire/ip.h"
#include "wire/ndp.h"

namespace sluice::gateway {

/// Whether somebody else vouches for a packet's transport checksum (virtio-net partial checksums).
enum class Checksums : std::uint8_t { verify, trusted };

/// The router that the guests see: it answers ARP, neighbour and router solicitations, DHCP, DHCPv6
/// and echo requests for the gateway and the host alias, knows who may use which address, and finds
/// guests on the link.
///
/// Pure: time comes in, frames go out through `emit`, from within the calls. Deterministic for one
/// HashKey. Every table is bounded. Loop thread only. `emit` and the resolve handler must not call
/// handle() or tick() from inside.
class Gateway {
 public:
  /// `store` may be nullptr and must outlive the Gateway; it is read here and written at most once
  /// a second.
  Gateway(const Config& config, const HashKey& key, Emit emit, LeaseStore* store, TimePoint now);
  Gateway(const Gateway&) = delete;
  Gateway& operator=(const Gateway&) = delete;
  /// Saves what has not been saved.
  ~Gateway();

  /// A guest is there, maybe another than before: advertises the router and forgets neighbours.
  void link_up(TimePoint now);

  /// A frame from a guest. True: it was the router's business, whether answered or dropped. False:
  /// it is not, or is a fragment, which comes back whole through handle_packet().
  bool handle(ConstBytes frame, TimePoint now, Checksums checksums = Checksums::verify);
  /// A whole packet of the guest with that source MAC; likewise.
  bool handle_packet(const MacAddress& source, const wire::Packet& packet, TimePoint now,
                     Checksums checksums = Checksums::verify);

  /// Whether this MAC may send from this address; see AddressBook. Violations are counted.
  SourceCheck check_source(const MacAddress& mac, const IpAddress& address, TimePoint now) {
    SourceCheck check = book_.check_source(mac, address, now);
    if (check == SourceCheck::allowed) resolver_.on_learnt();
    return check;
  }
  /// Where a packet to a guest's address goes; nothing where that is to be found out by resolve().
  std::optional<MacAddress> mac_of(const IpAddress& address) const { return book_.mac_of(address); }
  /// Asks the guests for an address. False: no guest can have it, or too many are being asked for.
  bool resolve(const IpAddress& address, TimePoint now) { return resolver_.resolve(address, now); }
  /// How a resolve() that returned true ends.
  void set_resolved_handler(Resolved handler) { resolver_.set_handler(std::move(handler)); }
  /// Where published ports lead: the guest's lease; without one the address of the family's subnet
  /// that it was seen to use last (SLAAC, configured by hand); before that the first one of the
  /// pool.
  IpAddress guest_address(Family family) const;
  /// Whether the address is the gateway's, the host alias's or the router's link-local one.
  bool is_own(const IpAddress& address) const { return book_.is_own(address); }

  /// Tells guests at once whether there is a way to the IPv6 Internet.
  void set_ipv6_default_route(DefaultRoute route, TimePoint now);

  /// Does what is due: advertisements, retries, expiry, saving. Early calls do no harm.
  void tick(TimePoint now);
  /// When tick() should be called next.
  TimePoint next_due() const;

  /// Both families.
  std::vector<Lease> leases() const;
  const Counters& counters() const { return counters_; }
  const Config& config() const { return config_; }

 private:
  static constexpr std::chrono::seconds kSaveInterval{1};
  static constexpr std::chrono::seconds kExpireInterval{30};
  static constexpr std::chrono::minutes kLogInterval{1};

  void on_arp(const MacAddress& source, ConstBytes payload, TimePoint now);
  bool on_packet4(const MacAddress& source, const wire::Packet& packet, TimePoint now,
                  Checksums checksums);
  bool on_packet6(const MacAddress& source, const wire::Packet& packet, TimePoint now,
                  Checksums checksums);
  void on_dhcp(const MacAddress& source, const wire::Packet& packet, TimePoint now,
               Checksums checksums);
  void on_dhcpv6(const MacAddress& source, const wire::Packet& packet, TimePoint now,
                 Checksums checksums);
  void after_dhcp(const MacAddress& source, const IpPrefix& subnet, std::uint64_t exhausted_before,
                  TimePoint now);
  bool on_echo(const MacAddress& source, const wire::Packet& packet, TimePoint now,
               Checksums checksums);
  void on_ndp(const MacAddress& source, const wire::Packet& packet, TimePoint now);
  void on_router_solicit(const MacAddress& source, const wire::NdpView& message, TimePoint now);
  void on_neighbor_solicit(const MacAddress& source, const wire::NdpView& message, TimePoint now);
  void on_neighbor_advert(const MacAddress& source, const wire::NdpView& message, TimePoint now);
  void claim(const MacAddress& mac, const IpAddress& address, TimePoint now);
  void load(TimePoint now);
  void save_if_due(TimePoint now);
  void save(TimePoint now);
  std::uint64_t lease_generation() const;

  Config config_;
  Counters counters_;
  FrameWriter writer_;
  AddressBook book_;
  Resolver resolver_;
  RouterAdvertiser advertiser_;
  DhcpServer dhcp_;
  Dhcpv6Server dhcpv6_;
  LeaseStore* store_;
  std::uint64_t saved_generation_ = 0;
  TimePoint now_;  // of the last call
  TimePoint save_after_;
  TimePoint expire_due_;
  TimePoint log_after_;
};

}  // namespace sluice::gateway
