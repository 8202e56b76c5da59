#pragma once

#include "agent/rpc/call.h"
#include "agent/supervise/supervisor.h"
#include "sluice/agent/v1/agent.pb.h"

namespace sluice::agent {

/// The service Services: what the supervisor keeps alive. `supervisor` must outlive `methods`'
/// calls.
void add_supervise_service(Supervisor& supervisor, rpc::Methods& methods);

/// As Agent.Events tells it; points to what `change` does.
sluice_agent_v1_ServiceChange service_change_message(const Supervisor::Change& change);

}  // namespace sluice::agent
