#pragma once

#include <string>

// Where an instance keeps its files: hostd makes them, hostctl looks for them.

namespace sluice::hostd {

/// Of control sockets: /run/sluice for root, $XDG_RUNTIME_DIR/sluice for others; empty where that
/// is not set.
std::string runtime_directory();
/// `NAME.sock` in there; empty if there is no such directory.
std::string api_socket_path(const std::string& name);
/// Of the guest's agent: `X.agent.sock` beside the control socket `X.sock`, or what else `X` is.
std::string agent_socket_path(const std::string& api_socket);

/// Of what outlives the process: /var/lib/sluice/NAME for root, else $XDG_STATE_HOME/sluice/NAME or
/// ~/.local/state/sluice/NAME; empty where none can be had.
std::string state_directory(const std::string& name);

/// Makes the directory that a file is to be in, and those above it. Its path if it was not there
/// before; else empty, also where it can't be made: opening the file will say why.
std::string make_parent_directory(const std::string& path);

}  // namespace sluice::hostd
