#pragma once

#include <cstdint>
#include <vector>

#include <net/address.h>

namespace sluice::flow {

/// A PROXY protocol version 2 header (section 2.2 of its specification) that tells a server who its
/// TCP client really is: from `client` to `server`. "LOCAL" where the families differ.
std::vector<std::uint8_t> make_proxy_header(const Endpoint& client, const Endpoint& server);

}  // namespace sluice::flow
