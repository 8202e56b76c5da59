#pragma once

#include <cstdint>
#include <optional>

#include <net/address.h>

#include "base/bytes.h"
#include "base/host_net.h"
#include "base/loop.h"
#include "flow/gate.h"
#include "flow/token_bucket.h"
#include "wire/icmp.h"

namespace sluice::flow {

/// What the guest is told about an errno of a host socket; nothing where ICMP has no word for it.
std::optional<wire::IcmpError> icmp_for(int error);
/// What the ICMP error said that the kernel made a SocketError of.
std::optional<wire::IcmpError> icmp_for(const SocketError& error, Family family);

/// ICMP errors that tell the guest what became of its packets. One rate limit for all of them
/// (RFC 1812 section 4.3.2.8). On the loop's thread.
class IcmpAnswers {
 public:
  /// Both outlive this.
  IcmpAnswers(Loop& loop, GuestOutput& output);

  /// From the gateway to `guest`, the sender of `original`, which is a packet from its IP header on
  /// and may be cut behind that. `value`: see wire::IcmpError.
  void send(const IpAddress& guest, ConstBytes original, wire::IcmpError error,
            std::uint32_t value = 0);
  /// The same from whoever reported `cause`, or the gateway if that was the host itself: its
  /// addresses mean nothing to the guest.
  void pass_on(const SocketError& cause, const IpAddress& guest, ConstBytes original,
               wire::IcmpError error);

  /// Those over the rate limit.
  std::uint64_t suppressed() const { return suppressed_; }

 private:
  void send_from(const IpAddress& from, const IpAddress& guest, ConstBytes original,
                 wire::IcmpError error, std::uint32_t value);

  Loop& loop_;
  GuestOutput& output_;
  TokenBucket rate_;
  std::uint64_t suppressed_ = 0;
};

}  // namespace sluice::flow
