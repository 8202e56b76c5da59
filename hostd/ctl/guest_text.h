#pragma once

#include <fmt/format.h>

#include <cstdio>
#include <functional>
#include <string>

#include "agent/rpc/call.h"
#include "hostd/ctl/text.h"

namespace sluice::ctl {

inline constexpr int kFailed = 1;

/// Of the guest's: a terminal must not obey it.
inline std::string printable(const std::string& words) {
  return text(nlohmann::json(words));
}

inline void print_error(const std::string& text) {
  fmt::print(stderr, "hostctl: {}\n", printable(text));
}

/// Whether the call worked; else says why not, and ends.
inline bool worked(const agent::rpc::CallError& error, const std::function<void(int)>& end,
                   int status = kFailed) {
  if (error.code == agent::rpc::Code::ok) return true;
  print_error(error.message);
  end(status);
  return false;
}

}  // namespace sluice::ctl
