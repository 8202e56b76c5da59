#pragma once

#include <memory>
#include <optional>
#include <string>

#include "agent/container/containers.h"
#include "agent/dns/guest_dns.h"
#include "agent/init/boot_report.h"
#include "agent/init/options.h"
#include "agent/init/shutdown.h"
#include "agent/legacy/server.h"
#include "agent/net/guest_network.h"
#include "agent/ports/port_watch.h"
#include "agent/process/children.h"
#include "agent/rpc/server.h"
#include "agent/services/agent_service.h"
#include "agent/services/configure_service.h"
#include "agent/services/container_service.h"
#include "agent/services/event_bus.h"
#include "agent/services/file_service.h"
#include "agent/services/image_service.h"
#include "agent/services/job_call.h"
#include "agent/services/metrics.h"
#include "agent/services/network_service.h"
#include "agent/services/process_service.h"
#include "agent/supervise/service_runner.h"
#include "agent/supervise/supervisor.h"
#include "agent/worker/aside.h"
#include "base/posix_net.h"
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
  /// What is left of it beside another init, which has the rest: the network, where that is asked
  /// for.
  void bring_up_beside();
  /// Until the agent ends; an init doesn't.
  void run();

 private:
  Agent(Role role, Options options, BootReport& boot);
  void watch_signals();
  void on_signal(int signal);
  void stop();
  void shut_down(const ShutdownOrder& order);
  void find_serial_port();
  Status serve_tcp();
  Status serve_legacy();
  void add_network_services();
  void tell_events();
  void add_container_services();
  void on_container_started(const std::string& id, const std::string& name,
                            const std::vector<std::string>& aliases,
                            const std::vector<std::string>& addresses);
  void on_container_exited(const std::string& id);
  void publish_container(const std::string& id, const std::string& name, const char* change,
                         const std::vector<std::string>& addresses);
  void add_supervisor();
  void start_services();
  void bring_up_disks();
  void on_disk_ready();
  void bring_up_network();
  Status configure_network(const NetworkConfig& config);
  void on_network_change(const NetworkState& network);
  void start_dns();
  Result<ConfigureService::DnsState> configure_dns(const ConfigureService::DnsOrder& order);
  void use_upstreams();
  void write_resolver_file();

  Role role_;
  Options options_;
  BootReport& boot_;
  std::unique_ptr<UvLoop> loop_;
  std::unique_ptr<PosixNet> host_net_;
  std::unique_ptr<Children> children_;
  std::unique_ptr<Shutdown> shutdown_;
  std::unique_ptr<AgentService> agent_service_;
  std::unique_ptr<ProcessService> process_service_;
  std::unique_ptr<GuestDns> dns_;  ///< Null where it is off.
  ConfigureService::DnsOrder dns_order_;
  bool resolver_file_is_ours_ = false;
  PortNamespaces port_namespaces_;
  std::unique_ptr<NetworkService> network_service_;
  std::unique_ptr<ConfigureService> configure_service_;
  std::unique_ptr<EventBus> events_;
  Metrics metrics_;
  std::unique_ptr<JobRunner> jobs_;
  std::unique_ptr<ImageService> image_service_;
  std::unique_ptr<FileService> file_service_;
  std::unique_ptr<Containers> containers_;
  std::unique_ptr<ContainerService> container_service_;
  rpc::Methods methods_;
  std::unique_ptr<rpc::Server> server_;
  std::unique_ptr<legacy::Server> legacy_server_;  ///< Null where nobody asked for it.
  std::unique_ptr<Timer> look_for_port_;
  BootReport::Index port_step_ = 0;
  bool port_is_late_ = false;
  std::unique_ptr<GuestNetwork> network_;
  std::optional<BootReport::Index> network_step_;
  std::unique_ptr<LocalServices> service_runner_;
  std::unique_ptr<Supervisor> supervisor_;
  /// The end of the guest, once it has begun: services first, then everybody.
  struct End {
    ShutdownOrder order;
    TimePoint by;
  };
  std::optional<End> end_;
  bool services_have_stopped_ = false;
  std::unique_ptr<Aside> disk_work_;
  std::unique_ptr<Aside> swap_work_;
  UniqueFd signals_;
  std::unique_ptr<FdWatch> signal_watch_;
};

}  // namespace sluice::agent
