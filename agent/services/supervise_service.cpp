#include "agent/services/supervise_service.h"

#include <fmt/format.h>

#include <vector>

#include "agent/rpc/message.h"
#include "sluice/agent/v1/services.pb.h"

namespace sluice::agent {

namespace {

constexpr const char* kService = "sluice.agent.v1.Services";

sluice_agent_v1_ServiceInfo_State state_of(Supervisor::State state) {
  switch (state) {
    case Supervisor::State::waiting:
      return sluice_agent_v1_ServiceInfo_State_WAITING;
    case Supervisor::State::starting:
      return sluice_agent_v1_ServiceInfo_State_STARTING;
    case Supervisor::State::ready:
      return sluice_agent_v1_ServiceInfo_State_READY;
    case Supervisor::State::backoff:
      return sluice_agent_v1_ServiceInfo_State_BACKOFF;
    case Supervisor::State::ended:
      return sluice_agent_v1_ServiceInfo_State_ENDED;
    case Supervisor::State::stopping:
      return sluice_agent_v1_ServiceInfo_State_STOPPING;
    case Supervisor::State::stopped:
      return sluice_agent_v1_ServiceInfo_State_STOPPED;
  }
  return sluice_agent_v1_ServiceInfo_State_STATE_UNSPECIFIED;
}

void list(rpc::Call& call, const Supervisor& supervisor) {
  std::vector<Supervisor::View> views = supervisor.list();
  std::vector<sluice_agent_v1_ServiceInfo> infos;
  for (Supervisor::View& view : views) {
    view.problem = rpc::valid_utf8(view.problem);
    infos.push_back({.name = rpc::field(view.name),
                     .state = state_of(view.state),
                     .pid = view.pid,
                     .restarts = view.restarts,
                     .since_ns = view.since_ns,
                     .problem = rpc::field(view.problem)});
  }
  sluice_agent_v1_ListServicesResponse response{};
  response.services_count = static_cast<pb_size_t>(infos.size());
  response.services = infos.data();
  call.reply_with(response);
}

void logs(rpc::Call& call, const Supervisor& supervisor, std::string_view name) {
  const ServiceOutput* output = supervisor.output(name);
  if (!output) {
    return call.fail(
        {.code = rpc::Code::not_found, .message = fmt::format("there is no service {}", name)});
  }
  std::string text = output->text();
  rpc::BytesField data({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
  sluice_agent_v1_ServiceLogsResponse response{};
  response.data = data.array();
  response.lost = output->lost();
  call.reply_with(response);
}

}  // namespace

void add_supervise_service(const Supervisor& supervisor, rpc::Methods& methods) {
  methods.add_unary<sluice_agent_v1_ListServicesRequest, sluice_agent_v1_ListServicesResponse>(
      kService, "List", [&supervisor](rpc::Call& call, const sluice_agent_v1_ListServicesRequest&) {
        list(call, supervisor);
      });
  methods.add_unary<sluice_agent_v1_ServiceLogsRequest, sluice_agent_v1_ServiceLogsResponse>(
      kService, "Logs",
      [&supervisor](rpc::Call& call, const sluice_agent_v1_ServiceLogsRequest& request) {
        logs(call, supervisor, rpc::text(request.name));
      });
}

}  // namespace sluice::agent
