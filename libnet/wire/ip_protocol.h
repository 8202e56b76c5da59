#pragma once

#include <cstdint>

namespace sluice::wire {

/// What an IP header says comes next (IANA protocol numbers). Other values than these occur.
enum class IpProtocol : std::uint8_t {
  hop_by_hop = 0,
  icmp = 1,
  igmp = 2,
  tcp = 6,
  udp = 17,
  routing = 43,
  fragment = 44,
  icmpv6 = 58,
  no_next_header = 59,
  destination_options = 60,
};

}  // namespace sluice::wire
