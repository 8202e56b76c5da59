#pragma once

#include <span>
#include <string_view>

#include <net/address.h>
#include <net/name.h>

namespace sluice::policy {

/// The port of DNS over TLS (RFC 7858) and over QUIC (RFC 9250).
inline constexpr Port kEncryptedDnsPort{853};

/// Public resolvers that are asked over HTTPS, and the names by whose absence browsers and systems
/// learn that this network has a resolver of its own (use-application-dns.net, iCloud's relay).
std::span<const std::string_view> encrypted_dns_hosts();

/// Whether a name is one of those or below one.
bool is_encrypted_dns_host(const DomainName& name);

}  // namespace sluice::policy
