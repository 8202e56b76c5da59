#pragma once

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <string>

#include "agent/rpc/call.h"
#include "base/bytes.h"
#include "hostd/ctl/text.h"

namespace sluice::ctl {

inline constexpr int kFailed = 1;
/// As container tools have it, where the exit status of a program is ours.
inline constexpr int kCallFailed = 125;

/// Of the guest's: a terminal must not obey it.
inline std::string printable(const std::string& words) {
  return text(nlohmann::json(words));
}

inline void print_error(const std::string& text) {
  fmt::print(stderr, "hostctl: {}\n", printable(text));
}

/// Of a container's log, where it has a gap.
inline void tell_lost(std::uint64_t bytes) {
  fmt::print(stderr, "hostctl: {} bytes of the log are missing here\n", bytes);
}

/// Whether the call worked; else says why not.
inline bool worked(const agent::rpc::CallError& error) {
  if (error.code == agent::rpc::Code::ok) return true;
  print_error(error.message);
  return false;
}
/// And ends.
inline bool worked(const agent::rpc::CallError& error, const std::function<void(int)>& end,
                   int status = kFailed) {
  if (worked(error)) return true;
  end(status);
  return false;
}

/// False where nobody reads it any more.
inline bool write_all(int fd, ConstBytes bytes) {
  while (!bytes.empty()) {
    ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return false;
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
  return true;
}

}  // namespace sluice::ctl
