#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <net/address.h>
#include <net/status.h>

namespace sluice {

/// Who the guest sees as the other end of a connection to a published port.
enum class SourceMode : std::uint8_t {
  /// The client's address and port; the gateway's address where the guest could not answer that:
  /// loopback, the other family, the guest's own subnet or a routed prefix.
  client,
  gateway,   ///< Always the gateway's address.
  proxy_v2,  ///< The gateway's address, and a PROXY protocol version 2 header first (TCP only).
};

/// What becomes of open flows when a port is withdrawn.
enum class LiveFlows : std::uint8_t { keep, reset };

/// A published port, or a range of them one to one.
struct PublishSpec {
  Protocol protocol = Protocol::tcp;  ///< tcp or udp.
  IpAddress bind = IpAddress::loopback(Family::v4);
  Port host_first;        ///< 0: the kernel chooses; not with a range.
  Port host_last;         ///< Equal to host_first for a single port.
  std::string unix_path;  ///< Not empty: listens there instead of bind and host ports.
  std::optional<IpAddress> guest_address;  ///< A container's; default: the guest's own.
  Port guest_first;
  SourceMode source = SourceMode::client;

  // Ingress policy of the port.
  std::vector<IpPrefix> allowed_sources;     ///< Empty: all.
  std::size_t max_connections = 0;           ///< At a time; 0: no limit but the Network's.
  std::uint32_t connections_per_second = 0;  ///< With a burst of one second; 0: no limit.

  friend bool operator==(const PublishSpec&, const PublishSpec&) = default;
};

/// `[BIND:]HPORT[-HPORT]:[GUESTADDR:]GPORT[-GPORT][/tcp|/udp]`, IPv6 in brackets, or
/// `unix:PATH:GPORT`. The error names the offending part and the fix.
Result<PublishSpec> parse_publish(std::string_view text);
/// The same text again.
std::string to_string(const PublishSpec& spec);

/// A port that is published now. A range is one of these per port.
struct PublishedPort {
  PublishSpec spec;
  /// As bound, with the port that the kernel chose. Not set for a Unix socket.
  std::optional<Endpoint> host;
  Port guest_port;
};

/// A port of the gateway's address that leads the guest to a Unix socket of the host's.
struct ReverseSpec {
  Port guest_port;
  std::string unix_path;
};

/// `GPORT:unix:PATH`.
Result<ReverseSpec> parse_reverse(std::string_view text);

}  // namespace sluice
