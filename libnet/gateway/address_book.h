#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include <net/address.h>

#include "gateway/config.h"
#include "gateway/counters.h"
#include "gateway/lease_table.h"
#include "gateway/neighbours.h"

namespace sluice::gateway {

/// Whether a packet may come from where it says it does.
enum class SourceCheck : std::uint8_t {
  allowed,
  spoofed_mac,    ///< Zero, multicast, or the router's own.
  own_address,    ///< An address of the router's.
  not_permitted,  ///< Neither leased to this MAC nor in a prefix that it may use.
};

/// Who may use which address, and who does: the leases of both families, the addresses that guests
/// made themselves (SLAAC, link-local), the router's own, and the neighbour table.
///
/// An address of the announced IPv6 prefix belongs to the MAC that first claims or uses it, until
/// it has not been used for kClaimAge; with one guest only, to whoever uses it now.
class AddressBook {
 public:
  static constexpr std::chrono::minutes kClaimAge{5};

  /// Both must outlive it.
  AddressBook(const Config& config, Counters& counters);

  LeaseTable& leases4() { return leases4_; }
  LeaseTable& leases6() { return leases6_; }
  const LeaseTable& leases4() const { return leases4_; }
  const LeaseTable& leases6() const { return leases6_; }
  /// The router's fe80:: address.
  const IpAddress& link_local() const { return link_local_; }

  /// Gateway, host alias and link-local address.
  bool is_own(const IpAddress& address) const;
  /// Judges a packet's source, counts a violation, and learns from an allowed one. Cheap for the
  /// source of the packet before.
  SourceCheck check_source(const MacAddress& mac, const IpAddress& address, TimePoint now);
  /// ARP or NDP says that `mac` has `address`; learnt if it may, counted if not.
  bool claim(const MacAddress& mac, const IpAddress& address, TimePoint now);
  /// Where a packet to `address` goes on the link: multicast and broadcast by rule, a guest's
  /// address by what is known of it, a routed prefix to the first guest. Nothing where unknown.
  std::optional<MacAddress> mac_of(const IpAddress& address) const;
  /// The address of the block that a guest was seen to use last.
  std::optional<IpAddress> latest_in(const IpPrefix& block) const {
    return neighbours_.latest_in(block);
  }
  /// Whether a guest might have `address`, so that asking for it makes sense.
  bool on_link(const IpAddress& address) const;
  bool is_routed(const IpAddress& address) const;

  /// A new guest may be there; what was learnt is forgotten.
  void begin_session();

 private:
  struct Recent {
    MacAddress mac;
    IpAddress address;
    std::uint64_t generation = 0;
    TimePoint until{};
  };

  bool may_have(const MacAddress& mac, const IpAddress& address, TimePoint now) const;
  bool may_claim(const MacAddress& mac, const IpAddress& address, TimePoint now) const;
  void learn(const MacAddress& mac, const IpAddress& address, TimePoint now);
  std::optional<MacAddress> known_mac(const IpAddress& address) const;

  const Config& config_;
  Counters& counters_;
  IpAddress link_local_;
  LeaseTable leases4_;
  LeaseTable leases6_;
  Neighbours neighbours_;
  std::array<Recent, 2> recent_;  // the last good source of each family
};

}  // namespace sluice::gateway
