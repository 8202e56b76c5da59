#pragma once

#include "agent/rpc/call.h"

namespace sluice::agent {

/// Answers Agent.SystemInfo from /proc, /sys and the kernel.
void answer_system_info(rpc::Call& call);

}  // namespace sluice::agent
