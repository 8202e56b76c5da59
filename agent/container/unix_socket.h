#pragma once

#include <net/status.h>
#include <sys/un.h>

#include <string>

#include "base/unique_fd.h"

namespace sluice::agent {

/// The descriptor that the next message of a Unix socket brings (SCM_RIGHTS), close-on-exec. Blocks
/// for a second at most. None where there is none.
UniqueFd receive_descriptor(int socket);

/// invalid_argument: too long a path.
Result<sockaddr_un> unix_address(const std::string& path);
/// The socket that a shim listens on (SOCK_SEQPACKET, non-blocking), to be its standard input.
Result<UniqueFd> listen_for_shim(const std::string& path);
/// A socket (SOCK_STREAM, non-blocking) at which a runtime hands in a terminal's master.
Result<UniqueFd> listen_for_console(const std::string& path);

}  // namespace sluice::agent
