#pragma once

#include <optional>
#include <string_view>

#include <net/name.h>

namespace sluice::wire {

/// The name by which a client asks for a server (SNI, Host), normalised as DomainName is. Nothing
/// for the empty name, the root, what DomainName refuses, and for a name whose last label is a
/// number: no such top-level domain exists, and some readers take "127.1", "0x7f000001" and the
/// like for an IPv4 address.
std::optional<DomainName> host_name(std::string_view text);

}  // namespace sluice::wire
