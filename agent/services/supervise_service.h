#pragma once

#include "agent/rpc/call.h"
#include "agent/supervise/supervisor.h"

namespace sluice::agent {

/// The service Services: what the supervisor keeps alive. `supervisor` must outlive `methods`'
/// calls.
void add_supervise_service(const Supervisor& supervisor, rpc::Methods& methods);

}  // namespace sluice::agent
