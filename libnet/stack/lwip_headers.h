#pragma once

// The one place where lwIP's headers come in.

// clang-format off: opt.h first
#include "lwip/opt.h"
#include "lwip/init.h"
#include "lwip/ip.h"
#include "lwip/netif.h"
#include "lwip/pbuf.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/stats.h"
#include "lwip/tcp.h"
// clang-format on

#include <net/address.h>

namespace sluice::stack {

inline ip_addr_t to_lwip(const IpAddress& address) {
  ip_addr_t out{};
  if (address.is_v4()) {
    IP_SET_TYPE_VAL(out, IPADDR_TYPE_V4);
    std::memcpy(&ip_2_ip4(&out)->addr, address.bytes().data(), 4);
  } else {
    IP_SET_TYPE_VAL(out, IPADDR_TYPE_V6);
    std::memcpy(ip_2_ip6(&out)->addr, address.bytes().data(), 16);
  }
  return out;
}

inline IpAddress from_lwip(const ip_addr_t& address) {
  if (IP_IS_V4_VAL(address)) {
    return IpAddress::from_bytes(
        {reinterpret_cast<const std::uint8_t*>(&ip_2_ip4(&address)->addr), 4});
  }
  return IpAddress::from_bytes(
      {reinterpret_cast<const std::uint8_t*>(ip_2_ip6(&address)->addr), 16});
}

}  // namespace sluice::stack
