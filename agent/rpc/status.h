#pragma once

#include <cstdint>
#include <vector>

#include "agent/rpc/call.h"
#include "base/bytes.h"

namespace sluice::agent::rpc {

/// ttrpc's Response to a call that worked, with its message; or to one that failed, with its
/// status.
std::vector<std::uint8_t> response_of(ConstBytes message);
std::vector<std::uint8_t> response_of(const CallError& error);

/// The type of a status's detail, as google.protobuf.Any names it.
inline constexpr const char* kErrorDetailType = "type.googleapis.com/sluice.agent.v1.ErrorDetail";

}  // namespace sluice::agent::rpc
