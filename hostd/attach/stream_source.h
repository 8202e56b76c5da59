#pragma once

#include <memory>
#include <string>

#include "base/loop.h"
#include "base/unique_fd.h"
#include "hostd/attach/stream_port.h"

namespace sluice::hostd {

// Where a StreamPort's connections come from. All on the loop's thread.

/// A port that takes one connection at a time from a listening socket; when it goes, the next one
/// is taken. More than one at a time are refused, with a log line.
std::unique_ptr<link::GuestPort> make_listening_port(Loop& loop, UniqueFd listener,
                                                     StreamPort::OnClosed on_closed);

/// A port that connects to `path`, and again whenever the connection is lost or nobody listens yet.
std::unique_ptr<link::GuestPort> make_connecting_port(Loop& loop, const std::string& path,
                                                      StreamPort::OnClosed on_closed);

}  // namespace sluice::hostd
