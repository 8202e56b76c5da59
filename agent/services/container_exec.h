#pragma once

#include <memory>

#include "agent/container/containers.h"
#include "agent/rpc/call.h"
#include "agent/services/process_service.h"

namespace sluice::agent {

/// Container.Exec: an ExecCall whose program the runtime starts in a container.
std::unique_ptr<rpc::Handler> begin_container_exec(Containers& containers,
                                                   ProcessService& processes, rpc::Call& call,
                                                   ConstBytes first);

}  // namespace sluice::agent
