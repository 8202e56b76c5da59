#include "agent/services/supervise_service.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
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

sluice_agent_v1_ServiceInfo info_of(Supervisor::View& view) {
  view.problem = rpc::valid_utf8(view.problem);
  return {.name = rpc::field(view.name),
          .state = state_of(view.state),
          .pid = view.pid,
          .restarts = view.restarts,
          .since_ns = view.since_ns,
          .problem = rpc::field(view.problem)};
}

void list(rpc::Call& call, const Supervisor& supervisor) {
  std::vector<Supervisor::View> views = supervisor.list();
  std::vector<sluice_agent_v1_ServiceInfo> infos;
  for (Supervisor::View& view : views) infos.push_back(info_of(view));
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

rpc::CallError error_of(const Status& status) {
  if (status.code() != StatusCode::refused) return rpc::CallError::of(status);
  return {.code = rpc::Code::failed_precondition, .message = rpc::valid_utf8(status.message())};
}

/// Start, Stop or Restart, until it has come about. A client that goes changes nothing of that.
class OrderCall final : public rpc::Handler {
 public:
  OrderCall(Supervisor& supervisor, rpc::Call& call, std::string name, Supervisor::Order order,
            std::vector<std::string> others)
      : supervisor_(supervisor),
        call_(call),
        name_(std::move(name)),
        order_(order),
        others_(std::move(others)),
        number_(supervisor.watch([this] { look(); })) {}
  ~OrderCall() override { supervisor_.unwatch(number_); }

  /// Whether the call has been answered; with the answer a handler goes.
  bool look() {
    auto outcome = supervisor_.outcome(name_, order_);
    if (!outcome) return false;
    if (!*outcome) {
      call_.fail(error_of(*outcome));
      return true;
    }
    std::vector<Supervisor::View> views = supervisor_.list();
    auto own = std::find_if(views.begin(), views.end(),
                            [this](const auto& view) { return view.name == name_; });
    std::vector<char*> others;
    for (const std::string& other : others_) others.push_back(rpc::field(other));
    // All three answer with the same message.
    sluice_agent_v1_StartServiceResponse response{};
    response.has_service = true;
    response.service = info_of(*own);
    response.others = others.data();
    response.others_count = static_cast<pb_size_t>(others.size());
    call_.reply_with(response);
    return true;
  }

 private:
  Supervisor& supervisor_;
  rpc::Call& call_;
  std::string name_;
  Supervisor::Order order_;
  std::vector<std::string> others_;
  std::uint64_t number_;
};

void add_order(Supervisor& supervisor, rpc::Methods& methods, std::string_view method,
               Supervisor::Order order) {
  methods.add(kService, method,
              {.begin = [&supervisor, order](rpc::Call& call,
                                             ConstBytes bytes) -> std::unique_ptr<rpc::Handler> {
                auto request = rpc::Message<sluice_agent_v1_StartServiceRequest>::parse(bytes);
                if (!request) {
                  call.fail(rpc::CallError::of(request.status()));
                  return nullptr;
                }
                std::string name(rpc::text((*request)->name));
                auto others = supervisor.order(name, order);
                if (!others) {
                  call.fail(error_of(others.status()));
                  return nullptr;
                }
                auto handler = std::make_unique<OrderCall>(supervisor, call, std::move(name), order,
                                                           std::move(*others));
                if (handler->look()) return nullptr;
                return handler;
              }});
}

}  // namespace

sluice_agent_v1_ServiceChange service_change_message(const Supervisor::Change& change) {
  sluice_agent_v1_ServiceChange message{};
  message.name = rpc::field(change.name);
  message.pid = change.pid;
  message.code = change.exit.code;
  message.signal = change.exit.signal;
  message.problem = rpc::field(change.problem);
  // The wire has them in the same order, from 1 on.
  message.change = static_cast<sluice_agent_v1_ServiceChange_Change>(
      static_cast<int>(change.kind) + sluice_agent_v1_ServiceChange_Change_STARTED);
  return message;
}

void add_supervise_service(Supervisor& supervisor, rpc::Methods& methods) {
  add_order(supervisor, methods, "Start", Supervisor::Order::start);
  add_order(supervisor, methods, "Stop", Supervisor::Order::stop);
  add_order(supervisor, methods, "Restart", Supervisor::Order::restart);
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
