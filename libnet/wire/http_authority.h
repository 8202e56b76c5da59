#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include <net/address.h>
#include <net/name.h>

namespace sluice::wire {

/// The host that an HTTP request is for, with its port where one was written (RFC 3986 section
/// 3.2). User information, percent-encoding, zones, an empty port and everything else that readers
/// disagree about can't be held.
struct HttpAuthority {
  std::variant<DomainName, IpAddress> host;
  std::optional<Port> port;

  /// "example.com", "example.com:8080", "192.0.2.1:80", "[2001:db8::1]". See host_name() for what
  /// a name is.
  static std::optional<HttpAuthority> parse(std::string_view text);

  /// Null where the host is an address.
  const DomainName* name() const { return std::get_if<DomainName>(&host); }
  const IpAddress* address() const { return std::get_if<IpAddress>(&host); }
  std::string to_string() const;

  friend bool operator==(const HttpAuthority&, const HttpAuthority&) = default;
};

}  // namespace sluice::wire
