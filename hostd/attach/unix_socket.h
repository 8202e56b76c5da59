#pragma once

#include <net/status.h>

#include <string>

#include "base/unique_fd.h"

namespace sluice::hostd {

/// A listening Unix stream socket at `path`, mode 0600. A socket that is there already is replaced
/// only if nobody answers on it (a leftover of a killed hostd); any other file is left alone, with
/// an error.
Result<UniqueFd> listen_unix_stream(const std::string& path);
/// A bound Unix datagram socket, likewise.
Result<UniqueFd> bind_unix_datagram(const std::string& path);
/// A connected one. The error keeps the errno's meaning: not_found, refused.
Result<UniqueFd> connect_unix_stream(const std::string& path);

}  // namespace sluice::hostd
