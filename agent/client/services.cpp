#include "agent/client/services.h"

#include "sluice/agent/v1/container.pb.h"
#include "sluice/agent/v1/services.pb.h"

namespace sluice::agent::client {

namespace {

using rpc::field;
using rpc::text;

constexpr std::string_view kServices = "sluice.agent.v1.Services";
constexpr std::string_view kContainer = "sluice.agent.v1.Container";

const char* state_name(sluice_agent_v1_ServiceInfo_State state) {
  switch (state) {
    case sluice_agent_v1_ServiceInfo_State_WAITING:
      return "waiting";
    case sluice_agent_v1_ServiceInfo_State_STARTING:
      return "starting";
    case sluice_agent_v1_ServiceInfo_State_READY:
      return "ready";
    case sluice_agent_v1_ServiceInfo_State_BACKOFF:
      return "backoff";
    case sluice_agent_v1_ServiceInfo_State_ENDED:
      return "ended";
    case sluice_agent_v1_ServiceInfo_State_STOPPING:
      return "stopping";
    case sluice_agent_v1_ServiceInfo_State_STOPPED:
      return "stopped";
    default:
      return "unknown";
  }
}

ServiceInfo info_of(const sluice_agent_v1_ServiceInfo& one) {
  return {.name = std::string(text(one.name)),
          .state = state_name(one.state),
          .pid = one.pid,
          .restarts = one.restarts,
          .since_ns = one.since_ns,
          .problem = std::string(text(one.problem))};
}

const char* method_of(ServiceOrder order) {
  switch (order) {
    case ServiceOrder::start:
      return "Start";
    case ServiceOrder::stop:
      return "Stop";
    case ServiceOrder::restart:
      return "Restart";
  }
  return "";
}

}  // namespace

void list_services(Caller& caller, OnAnswer<std::vector<ServiceInfo>> on_answer) {
  call<sluice_agent_v1_ListServicesResponse>(
      caller, kServices, "List", sluice_agent_v1_ListServicesRequest{}, std::move(on_answer),
      [](const sluice_agent_v1_ListServicesResponse& response) {
        std::vector<ServiceInfo> list;
        for (pb_size_t i = 0; i < response.services_count; ++i) {
          list.push_back(info_of(response.services[i]));
        }
        return list;
      });
}

void order_service(Caller& caller, ServiceOrder order, const std::string& name,
                   OnAnswer<OrderedService> on_answer) {
  // The three have the same messages.
  sluice_agent_v1_StartServiceRequest request{};
  request.name = field(name);
  call<sluice_agent_v1_StartServiceResponse>(
      caller, kServices, method_of(order), request, std::move(on_answer),
      [](const sluice_agent_v1_StartServiceResponse& response) {
        return OrderedService{.service = info_of(response.service),
                              .others = rpc::strings(response.others, response.others_count)};
      });
}

void service_log(Caller& caller, const std::string& name, OnAnswer<ServiceLog> on_answer) {
  sluice_agent_v1_ServiceLogsRequest request{};
  request.name = field(name);
  call<sluice_agent_v1_ServiceLogsResponse>(
      caller, kServices, "Logs", request, std::move(on_answer),
      [](const sluice_agent_v1_ServiceLogsResponse& response) {
        ConstBytes data = rpc::bytes_of(response.data);
        return ServiceLog{.text = std::string(data.begin(), data.end()), .lost = response.lost};
      });
}

void container_top(Caller& caller, const std::string& container,
                   OnAnswer<std::vector<ContainerProcess>> on_answer) {
  sluice_agent_v1_TopContainerRequest request{};
  request.container = field(container);
  call<sluice_agent_v1_TopContainerResponse>(
      caller, kContainer, "Top", request, std::move(on_answer),
      [](const sluice_agent_v1_TopContainerResponse& response) {
        std::vector<ContainerProcess> list;
        for (pb_size_t i = 0; i < response.processes_count; ++i) {
          const sluice_agent_v1_ContainerProcess& one = response.processes[i];
          list.push_back({.pid = one.pid,
                          .inner_pid = one.inner_pid,
                          .uid = one.uid,
                          .state = std::string(text(one.state)),
                          .cpu_ns = one.cpu_ns,
                          .memory = one.memory,
                          .args = rpc::strings(one.args, one.args_count)});
        }
        return list;
      });
}

}  // namespace sluice::agent::client
