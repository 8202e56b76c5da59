#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include <net/address.h>

#include "policy/prefix_tree.h"

namespace sluice::policy {

/// The groups that a rule can name.
enum class Group : std::uint8_t {
  any,
  public_,  ///< Globally reachable unicast; never reserved ranges, never what is the host's.
  private_,
  loopback,
  link_local,
  metadata,
  multicast,
  host,    ///< The host: its interface addresses, and its loopback behind gateway and host alias.
  guests,  ///< The guests' own subnets.
  dns,     ///< The gateway's DNS ports; no addresses of its own.
};
inline constexpr int kGroupCount = 10;

std::string_view to_string(Group group);
std::optional<Group> group_named(std::string_view name);
/// All names, in the order of the enumeration.
std::span<const std::string_view> group_names();

/// A set of groups.
class GroupSet {
 public:
  constexpr GroupSet() = default;
  constexpr GroupSet(std::initializer_list<Group> groups) {
    for (Group group : groups) add(group);
  }
  static constexpr GroupSet all() {
    GroupSet set;
    set.bits_ = (1U << kGroupCount) - 1;
    return set;
  }
  constexpr bool has(Group group) const { return (bits_ & bit(group)) != 0; }
  constexpr void add(Group group) { bits_ |= bit(group); }
  constexpr void remove(Group group) { bits_ &= ~bit(group); }
  friend constexpr GroupSet operator&(GroupSet a, GroupSet b) {
    return GroupSet(a.bits_ & b.bits_);
  }
  friend constexpr GroupSet operator|(GroupSet a, GroupSet b) {
    return GroupSet(a.bits_ | b.bits_);
  }
  friend constexpr bool operator==(GroupSet, GroupSet) = default;
  /// One bit per group, at the position of its value.
  constexpr std::uint32_t bits() const { return bits_; }

 private:
  constexpr explicit GroupSet(std::uint32_t bits) : bits_(bits) {}
  static constexpr std::uint32_t bit(Group group) { return 1U << static_cast<unsigned>(group); }
  std::uint32_t bits_ = 0;
};

/// What the policy has to know of this host and Network: plain data, so that judging stays pure.
/// When it changes, the policy is compiled again.
struct HostView {
  std::vector<IpAddress> addresses;     ///< Of the host's interfaces, loopback left out or not.
  std::vector<IpPrefix> on_link;        ///< Networks that the host reaches without a router.
  std::vector<IpAddress> gateways;      ///< The gateway addresses that the guests see.
  std::vector<IpAddress> host_aliases;  ///< Other addresses that stand for the host's loopback.
  std::vector<IpPrefix> guest_subnets;

  friend bool operator==(const HostView&, const HostView&) = default;
};

/// The groups of one address. They differ by action so that both ways are safe: a special address
/// (metadata, the gateway, a guest) leaves the broad group around it for an allow, and stays in it
/// for a deny. `allow@private` does not open the host's loopback; `deny@private` does close it.
struct Membership {
  GroupSet for_allow;
  GroupSet for_deny;

  friend bool operator==(const Membership&, const Membership&) = default;
};

/// An IPv4 address inside an IPv6 one.
struct Embedded {
  IpAddress inner;
  /// Whether the IPv6 address is nothing but a form of the inner one: v4-mapped and v4-translated
  /// (RFC 4291, RFC 2765), v4-compatible, NAT64 (RFC 6052), 6to4 (RFC 3056), Teredo (RFC 4380).
  /// Not for ISATAP (RFC 5214), where the upper half is an address block of its own.
  bool is_transition = true;
};
std::optional<Embedded> embedded_v4(const IpAddress& address);

/// The IPv6 blocks whose addresses are forms of an IPv4 address.
std::span<const IpPrefix> transition_blocks();

/// Which groups an address is in: the one table of ranges, and the host's live addresses.
/// Immutable; reads are O(log ranges) and allocate nothing.
class GroupMap {
 public:
  explicit GroupMap(const HostView& host);

  Membership groups_of(const IpAddress& address) const;
  /// Every address of an IPv4 block, or an IPv6 block without embedded forms, is in these groups;
  /// nothing if they differ within it.
  std::optional<Membership> groups_of_block(const IpPrefix& block) const;

 private:
  Membership own_groups(const IpAddress& address) const;

  PrefixTree tree_;
  std::vector<Membership> groups_;  // By node of the tree.
};

}  // namespace sluice::policy
