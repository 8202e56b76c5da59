#pragma once

#include <functional>
#include <string>

#include "agent/init/boot_report.h"
#include "agent/init/shutdown.h"
#include "agent/rpc/call.h"
#include "base/loop.h"
#include "sluice/agent/v1/agent.pb.h"

namespace sluice::agent {

/// The service Agent: who answers, how the boot went, the clock, the end.
class AgentService {
 public:
  /// `shutdown` begins the end, and returns; empty where the agent is not the guest's init. `boot`
  /// must outlive this.
  AgentService(const BootReport& boot, std::function<void(const ShutdownOrder&)> shutdown)
      : boot_(boot), shutdown_(std::move(shutdown)) {}

  void add_to(rpc::Methods& methods);

 private:
  const BootReport& boot_;
  std::function<void(const ShutdownOrder&)> shutdown_;
};

/// A step for the wire, valid as long as `step` is.
sluice_agent_v1_BootStep boot_step_message(const BootReport::Step& step);

}  // namespace sluice::agent
