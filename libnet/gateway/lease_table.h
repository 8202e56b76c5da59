#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <net/address.h>

#include "base/loop.h"
#include "gateway/config.h"

namespace sluice::gateway {

/// An address given to a guest.
struct Lease {
  enum class State : std::uint8_t {
    offered,   ///< Not confirmed; the address is only kept for a while.
    bound,     ///< The guest's.
    released,  ///< Given back; remembered so that the same guest gets it again.
  };

  MacAddress mac;
  IpAddress address;
  State state = State::offered;
  TimePoint expires;
  std::string name;  ///< What the guest calls itself, one DNS label; may be empty.
};

/// Which addresses a LeaseTable gives out.
struct LeasePool {
  IpPrefix subnet;
  IpAddress first;                  ///< Tried first, then upwards, wrapping inside the subnet.
  std::vector<IpAddress> reserved;  ///< Never given: gateway, host alias.
  std::vector<StaticLease> fixed;   ///< Those of the pool's family.
  Guests guests = Guests::one;
  Duration offer_hold{};
  Duration quarantine{};
};

/// Who has which address of one family: at most one address per MAC and one MAC per address.
///
/// Leases are keyed by MAC alone, not by client identifier: firmware, initramfs and system of one
/// machine identify themselves differently and must get the same address. A lease that ran out
/// stays its guest's until somebody else needs the address, as guests exist that never renew.
///
/// Bounded by kMaxAddresses. Loop thread only.
class LeaseTable {
 public:
  /// Of a larger subnet only this many addresses from `first` on are given out.
  static constexpr std::uint32_t kMaxAddresses = 1024;

  explicit LeaseTable(LeasePool pool);

  /// The address that `mac` should have, kept for it until bind() or for offer_hold. In order: its
  /// static lease, the one it has, the first address where there is one guest only, `wanted` if it
  /// is free, the first free one, the one unused for longest. Nothing where all are in use.
  std::optional<IpAddress> offer(const MacAddress& mac, std::optional<IpAddress> wanted,
                                 TimePoint now);
  /// Gives `address` to `mac` until `expires`, if it may have it; gives up any other it has.
  bool bind(const MacAddress& mac, const IpAddress& address, std::string name, TimePoint now,
            TimePoint expires);
  /// False where `mac` does not have `address`; likewise below.
  bool release(const MacAddress& mac, const IpAddress& address);
  /// The guest found `address` in use: nobody gets it for a while.
  bool decline(const MacAddress& mac, const IpAddress& address, TimePoint now);

  /// Whether `mac` may send from `address`: its lease, its static lease, or the first address if
  /// nobody else is using that (a guest configured without DHCP).
  bool may_use(const MacAddress& mac, const IpAddress& address) const;
  /// Whether `address` is somebody else's, by static lease or by a lease that still counts.
  bool belongs_to_other(const MacAddress& mac, const IpAddress& address) const;
  /// The guest was seen using its address.
  void touch(const MacAddress& mac, const IpAddress& address, TimePoint now);
  /// A new guest may be there: leases not used from here on no longer hold the first address.
  void begin_session() { ++session_; }

  const Lease* by_mac(const MacAddress& mac) const;
  std::optional<MacAddress> holder(const IpAddress& address) const;
  /// The holder, if it used the address in this session: a frame to it will arrive.
  std::optional<MacAddress> current_holder(const IpAddress& address) const;
  std::vector<Lease> leases() const;
  /// Forgets offers and quarantines that ran out.
  void expire(TimePoint now);
  /// Puts back a lease of an earlier run; ignored where the pool no longer allows it.
  void restore(Lease lease);
  /// Changes whenever an answer of may_use() may have.
  std::uint64_t generation() const { return generation_; }

 private:
  struct Entry {
    Lease lease;
    std::uint64_t session = 0;  // the last in which it was used
    TimePoint seen{};
  };

  bool usable(const IpAddress& address) const;
  const StaticLease* fixed_for(const MacAddress& mac) const;
  bool fixed_for_other(const MacAddress& mac, const IpAddress& address) const;
  bool idle(const Entry& entry) const;
  bool has_room_for(const MacAddress& mac) const;
  bool free_for(const MacAddress& mac, const IpAddress& address, TimePoint now) const;
  std::optional<IpAddress> choose(const MacAddress& mac, std::optional<IpAddress> wanted,
                                  TimePoint now) const;
  std::optional<IpAddress> first_free(const MacAddress& mac, TimePoint now) const;
  std::optional<IpAddress> longest_unused(const MacAddress& mac, TimePoint now) const;
  void assign(const MacAddress& mac, const IpAddress& address);
  void forget(const MacAddress& mac);

  LeasePool pool_;
  std::map<MacAddress, Entry> entries_;
  std::map<IpAddress, MacAddress> holders_;
  std::map<IpAddress, TimePoint> quarantined_;
  std::uint64_t session_ = 1;
  std::uint64_t generation_ = 1;
};

}  // namespace sluice::gateway
