#pragma once

#include <functional>
#include <string>
#include <vector>

#include <net/address.h>

#include "base/bytes.h"
#include "dns/hooks.h"

namespace sluice::agent {

/// Who asks, and how.
struct DnsAsker {
  IpAddress address;
  std::string network;  ///< Of the address that was asked; "": the VM's own.
  IpAddress server;     ///< That address.
  dns::Transport transport = dns::Transport::udp;
};

/// Answers a message: calls `reply` once, at once or later; empty means that silence is the answer.
/// `reply` may be called when the client has gone.
using DnsReply = std::function<void(std::vector<std::uint8_t> message)>;
using DnsAnswer =
    std::function<void(ConstBytes message, const DnsAsker& asker, const DnsReply& reply)>;

}  // namespace sluice::agent
