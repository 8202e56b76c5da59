#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include <net/address.h>
#include <net/name.h>

#include "base/bytes.h"
#include "wire/ip.h"

// Neighbour Discovery (RFC 4861) with the options of RFC 8106 (RDNSS, DNSSL).

namespace sluice::wire {

enum class NdpType : std::uint8_t {
  router_solicit = 133,
  router_advert = 134,
  neighbor_solicit = 135,
  neighbor_advert = 136,
  redirect = 137,
};

enum class NdpOptionType : std::uint8_t {
  source_link_address = 1,
  target_link_address = 2,
  prefix_information = 3,
  redirected_header = 4,
  mtu = 5,
  rdnss = 25,
  dnssl = 31,
};

/// One option; `body` is what follows type and length, 6 bytes or more.
struct NdpOption {
  NdpOptionType type;
  ConstBytes body;
};

/// A walk over options that have been checked.
class NdpOptions {
 public:
  explicit NdpOptions(ConstBytes options) : rest_(options) {}
  /// Whether each has a length other than 0 and lies inside (RFC 4861 section 4.6).
  static bool are_valid(ConstBytes options);
  /// Requires are_valid() of the bytes given. Nothing at the end.
  std::optional<NdpOption> next();

 private:
  ConstBytes rest_;
};

struct NdpPrefix {
  IpPrefix prefix;
  bool on_link = true;
  bool autonomous = true;  ///< SLAAC may be done with it.
  std::uint32_t valid_seconds = 0xffffffff;
  std::uint32_t preferred_seconds = 0xffffffff;

  /// Nothing unless `option` is a prefix information of the right size, length at most 128.
  static std::optional<NdpPrefix> parse(const NdpOption& option);
};

/// A checked Neighbour Discovery message. The bytes are the caller's and outlive the view.
class NdpView {
 public:
  /// Nothing unless `packet` is an unfragmented ICMPv6 message of an NdpType with code 0, long
  /// enough for its type, with a right checksum and valid options, and as the type demands:
  /// a multicast target is refused (sections 7.1.1 and 7.1.2); a solicitation from :: goes to a
  /// solicited-node address and has no source link address (7.1.1, 6.1.1); a solicited advert does
  /// not go to a multicast address (7.1.2); a router advert or redirect comes from a link-local
  /// address (6.1.2, 8.1). The hop limit is not looked at: see hop_limit_ok().
  static std::optional<NdpView> parse(const Packet& packet);

  NdpType type() const { return static_cast<NdpType>(message_[0]); }
  const IpAddress& source() const { return source_; }
  const IpAddress& destination() const { return destination_; }
  /// Whether no router can have forwarded it: 255. Anything else must be dropped (section 3.1).
  bool hop_limit_ok() const { return hop_limit_ == 255; }
  NdpOptions options() const { return NdpOptions(message_.subspan(options_at_)); }

  /// Of a neighbour solicitation or advert, or a redirect; :: for other types.
  IpAddress target() const;
  // The first such option with an Ethernet address.
  std::optional<MacAddress> source_link_address() const;
  std::optional<MacAddress> target_link_address() const;

  // Of a neighbour advert; false for other types.
  bool is_from_router() const { return has_flag(NdpType::neighbor_advert, 4, 0x80); }
  bool is_solicited() const { return has_flag(NdpType::neighbor_advert, 4, 0x40); }
  bool is_override() const { return has_flag(NdpType::neighbor_advert, 4, 0x20); }

  // Of a router advert; false or 0 for other types.
  bool is_managed() const { return has_flag(NdpType::router_advert, 5, 0x80); }
  bool is_other_config() const { return has_flag(NdpType::router_advert, 5, 0x40); }
  std::uint8_t advertised_hop_limit() const;
  std::uint16_t router_lifetime_seconds() const;
  /// The first MTU option.
  std::optional<std::uint32_t> mtu() const;

 private:
  NdpView(const Packet& packet, std::size_t options_at);
  bool has_flag(NdpType type, std::size_t at, std::uint8_t bit) const {
    return this->type() == type && (message_[at] & bit) != 0;
  }
  std::optional<MacAddress> link_address(NdpOptionType type) const;
  bool fits_its_type() const;

  ConstBytes message_;
  IpAddress source_;
  IpAddress destination_;
  std::size_t options_at_;
  std::uint8_t hop_limit_;
};

/// ff02::1:ffXX:XXXX (RFC 4291 section 2.7.1). Requires an IPv6 address.
IpAddress solicited_node(const IpAddress& address);
/// ff02::1
IpAddress all_nodes();
/// ff02::2
IpAddress all_routers();
/// fe80:: with the modified EUI-64 of a MAC (RFC 4291 appendix A).
IpAddress link_local_from(const MacAddress& mac);

// The values below emit the ICMPv6 message with its checksum, without the IP header, which must
// have hop limit 255. emit() returns the bytes written; 0, and nothing is written, where `out` is
// shorter than size().

struct RouterSolicit {
  std::optional<MacAddress> source_mac;

  std::size_t size() const { return 8 + (source_mac ? 8 : 0); }
  std::size_t emit(Bytes out, const IpAddress& source, const IpAddress& destination) const;
};

struct NeighborSolicit {
  IpAddress target;
  std::optional<MacAddress> source_mac;  ///< Not where the source is :: (DAD).

  std::size_t size() const { return 24 + (source_mac ? 8 : 0); }
  std::size_t emit(Bytes out, const IpAddress& source, const IpAddress& destination) const;
};

struct NeighborAdvert {
  IpAddress target;
  MacAddress target_mac;
  bool from_router = false;
  bool solicited = false;
  bool override_cache = true;

  static constexpr std::size_t size() { return 32; }
  std::size_t emit(Bytes out, const IpAddress& source, const IpAddress& destination) const;
};

/// The spans are the caller's and need only live for the call.
struct RouterAdvert {
  std::uint8_t hop_limit = 64;
  bool managed = false;       ///< Addresses by DHCPv6.
  bool other_config = false;  ///< Other things by DHCPv6.
  /// 0: not a default router (RFC 4861 section 6.2.3).
  std::uint16_t lifetime_seconds = 0;
  std::uint32_t reachable_ms = 0;
  std::uint32_t retransmit_ms = 0;
  std::optional<MacAddress> source_mac;
  std::optional<std::uint32_t> mtu;
  std::span<const NdpPrefix> prefixes;
  std::span<const IpAddress> dns_servers;      ///< At most 127, IPv6 each; more are left out.
  std::span<const DomainName> search_domains;  ///< As many as fit the option's 2032 bytes.
  std::uint32_t dns_lifetime_seconds = 0;      ///< Of both.

  std::size_t size() const;
  std::size_t emit(Bytes out, const IpAddress& source, const IpAddress& destination) const;
};

}  // namespace sluice::wire
