#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <net/address.h>

#include "gateway/config.h"
#include "gateway/counters.h"
#include "gateway/lease_table.h"
#include "wire/dhcp.h"

namespace sluice::gateway {

/// A DHCP reply and where it goes.
struct DhcpReply {
  MacAddress mac;
  IpAddress address;
  std::vector<std::uint8_t> payload;  ///< At most wire::kDhcpMaxReply bytes.
};

/// The DHCPv4 server (RFC 2131) as a function from message to reply: it keeps no state but the
/// leases. It is the only server of its link, so it also answers clients that come with an address
/// it does not know: with an ACK where the address is free, else with a NAK at once.
///
/// Relays (giaddr) don't exist on this link; the field is ignored. Replies always fit into the 576
/// bytes that every client takes; what does not fit, from the end of the option list, is left out.
class DhcpServer {
 public:
  /// All three must outlive it. `leases` is of IPv4.
  DhcpServer(const Config& config, LeaseTable& leases, Counters& counters)
      : config_(config), leases_(leases), counters_(counters) {}

  /// `sender` is the frame's source; a message for other hardware is ignored.
  std::optional<DhcpReply> answer(ConstBytes message, const MacAddress& sender, TimePoint now);

 private:
  using Reply = std::optional<DhcpReply>;

  Reply on_discover(const wire::DhcpView& message, TimePoint now);
  Reply on_request(const wire::DhcpView& message, TimePoint now);
  Reply acknowledge(const wire::DhcpView& message, const IpAddress& address);
  Reply offer(const wire::DhcpView& message, const IpAddress& address);
  Reply refuse(const wire::DhcpView& message, std::string_view reason);
  Reply on_inform(const wire::DhcpView& message);
  void on_release(const wire::DhcpView& message);
  void on_decline(const wire::DhcpView& message, TimePoint now);

  bool for_another_server(const wire::DhcpView& message) const;
  bool bind(const wire::DhcpView& message, const IpAddress& address, TimePoint now);
  DhcpReply make_reply(const wire::DhcpView& message, wire::DhcpType type,
                       const IpAddress& address) const;
  void add_settings(wire::DhcpBuilder& builder, const wire::DhcpView& message,
                    const IpAddress& address) const;
  std::string host_name(const MacAddress& mac, const IpAddress& address) const;

  const Config& config_;
  LeaseTable& leases_;
  Counters& counters_;
};

/// `duration` in whole seconds, from 60 (shorter leases would only make traffic) to one below
/// "infinite" (RFC 2131 section 3.3).
std::uint32_t lease_seconds(Duration duration);

}  // namespace sluice::gateway
