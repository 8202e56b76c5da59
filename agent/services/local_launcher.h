#pragma once

#include <string>
#include <vector>

#include "agent/process/spawn.h"
#include "agent/services/exec_launcher.h"

namespace sluice::agent {

/// Programs in the VM itself.
class LocalLauncher final : public ExecLauncher {
 public:
  std::optional<rpc::CallError> prepare(const sluice_agent_v1_ExecStart& start) override;
  const std::vector<std::string>& args() const override { return plan_.args; }
  bool makes_terminal() const override { return false; }
  void launch(const Streams& streams, Done done) override;

 private:
  SpawnPlan plan_;
};

}  // namespace sluice::agent
