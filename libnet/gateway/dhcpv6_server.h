#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include <net/address.h>

#include "gateway/config.h"
#include "gateway/counters.h"
#include "gateway/lease_table.h"
#include "wire/dhcpv6.h"

namespace sluice::gateway {

/// The DHCPv6 server (RFC 8415) as a function from message to reply: one address per MAC in the
/// first identity association that asks, DNS and search list, no prefixes.
///
/// Bindings are by MAC like those of IPv4, so that the DUIDs and IAIDs of firmware, initramfs and
/// system of one machine end at one address.
class Dhcpv6Server {
 public:
  /// Associations looked at per message; clients send one or two.
  static constexpr int kMaxAssociations = 8;

  /// All three must outlive it. `leases` is of IPv6.
  Dhcpv6Server(const Config& config, LeaseTable& leases, Counters& counters)
      : config_(config), leases_(leases), counters_(counters), duid_(wire::duid_from(config.mac)) {}

  /// The reply to a message that `sender` sent to all_dhcp_servers(); nothing where none is due.
  std::optional<std::vector<std::uint8_t>> answer(ConstBytes message, const MacAddress& sender,
                                                  TimePoint now);

 private:
  using Grant = wire::Dhcpv6Builder::AddressGrant;

  bool is_acceptable(const wire::Dhcpv6View& message) const;
  std::optional<std::vector<std::uint8_t>> give(const wire::Dhcpv6View& message,
                                                const MacAddress& sender, TimePoint now);
  std::optional<std::vector<std::uint8_t>> confirm(const wire::Dhcpv6View& message);
  std::vector<std::uint8_t> take_back(const wire::Dhcpv6View& message, const MacAddress& sender,
                                      TimePoint now);
  Grant grant(const wire::Dhcpv6View& message, const wire::Dhcpv6Association& association,
              const MacAddress& sender, TimePoint now);
  wire::Dhcpv6Builder begin(const wire::Dhcpv6View& message, wire::Dhcpv6Type type) const;
  void add_settings(wire::Dhcpv6Builder& builder, const wire::Dhcpv6View& message) const;

  const Config& config_;
  LeaseTable& leases_;
  Counters& counters_;
  std::vector<std::uint8_t> duid_;
};

}  // namespace sluice::gateway
