#pragma once

#include <net/network.h>

#include <functional>
#include <string>

#include "hostd/config/options.h"

namespace sluice::hostd {

/// What was opened for the guest's NIC before privileges were dropped.
struct PreparedAttachment {
  Network::PortFactory make_port;
  std::string socket_path;    ///< A socket of ours to be removed at the end; may be empty.
  bool is_datagrams = false;  ///< Guests on these expect an MTU of 1500 if nobody says otherwise.
};

/// Opens what the attachment needs. `on_gone` is called on the loop's thread each time the guest's
/// end goes. The error names the flag, the value and the fix.
Result<PreparedAttachment> prepare_attachment(const Attachment& attachment, std::uint16_t mtu,
                                              std::function<void()> on_gone);

}  // namespace sluice::hostd
