#pragma once

#include "agent/container/container.h"
#include "agent/rpc/call.h"

namespace sluice::agent {

/// Container.Stats.
void answer_stats(rpc::Call& call, const Container& container, std::int64_t now_ns);
/// Container.Top.
void answer_top(rpc::Call& call, const Container& container);

}  // namespace sluice::agent
