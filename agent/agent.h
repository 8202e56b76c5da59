#pragma once

#include <memory>
#include <optional>
#include <string>

#include "agent/container/containers.h"
#include "agent/init/boot_report.h"
#include "agent/init/options.h"
#include "agent/init/shutdown.h"
#include "agent/net/guest_network.h"
#include "agent/process/children.h"
#include "agent/rpc/server.h"
#include "agent/services/agent_service.h"
#include "agent/services/container_service.h"
#include "agent/services/process_service.h"
#include "base/uv_loop.h"

namespace sluice::agent {

/// The whole agent, in either role: PID 1 of a guest, or a program that somebody started.
class Agent {
 public:
  enum class Role { init, service };

  static Result<std::unique_ptr<Agent>> create(Role role, Options options, BootReport& boot);
  ~Agent();

  /// Opens what calls come by. Of a service all of it has to work; an init goes on with what does.
  Status serve();
  /// The rest of the boot, once the agent can be reached. Init only.
  void bring_up();
  /// Until the agent ends; an init doesn't.
  void run();

 private:
  Agent(Role role, Options options, BootReport& boot);
  void watch_signals();
  void on_signal(int signal);
  void stop();
  void shut_down(const ShutdownOrder& order);
  void find_serial_port();
  void bring_up_network();
  void on_network_change(const NetworkState& network);

  Role role_;
  Options options_;
  BootReport& boot_;
  std::unique_ptr<UvLoop> loop_;
  std::unique_ptr<Children> children_;
  std::unique_ptr<Shutdown> shutdown_;
  std::unique_ptr<AgentService> agent_service_;
  std::unique_ptr<ProcessService> process_service_;
  std::unique_ptr<Containers> containers_;
  std::unique_ptr<ContainerService> container_service_;
  rpc::Methods methods_;
  std::unique_ptr<rpc::Server> server_;
  std::unique_ptr<Timer> look_for_port_;
  BootReport::Index port_step_ = 0;
  bool port_is_late_ = false;
  std::unique_ptr<GuestNetwork> network_;
  std::optional<BootReport::Index> network_step_;
  UniqueFd signals_;
  std::unique_ptr<FdWatch> signal_watch_;
};

}  // namespace sluice::agent
