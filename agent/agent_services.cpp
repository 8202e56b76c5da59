// The part of Agent that is about the guest's own services: what a distribution's table says, and
// the end of them.

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "agent/agent.h"
#include "agent/os/file.h"
#include "agent/services/supervise_service.h"
#include "agent/supervise/system_table.h"

namespace sluice::agent {

namespace {

/// For who is not asked to end before all services have.
constexpr Duration kLeastGrace = std::chrono::seconds(1);

}  // namespace

void Agent::add_supervisor() {
  service_runner_ =
      std::make_unique<LocalServices>(*loop_, *children_, options_.containers.cgroup_root);
  supervisor_ = std::make_unique<Supervisor>(*loop_, *service_runner_);
  supervisor_->set_observer([this](const Supervisor::Change& change) {
    sluice_agent_v1_EventsResponse event{};
    event.which_event = sluice_agent_v1_EventsResponse_service_tag;
    event.event.service = service_change_message(change);
    events_->publish(event);
  });
  add_supervise_service(*supervisor_, methods_);
}

void Agent::start_services() {
  auto text = read_file(options_.services);
  if (!text && errno == ENOENT) return;
  auto step = boot_.begin("services of " + options_.services);
  if (!text) {
    int error = errno;
    return boot_.failed(step, error, std::strerror(error));
  }
  auto table = parse_system_table(*text);
  if (!table) return boot_.failed(step, 0, table.status().message());
  boot_.done(step, fmt::format("{}", table->services.size()));
  lay_out(boot_, *table);
  supervisor_->start(std::move(table->services));
}

void Agent::shut_down(const ShutdownOrder& order) {
  containers_->shut_down();
  if (services_have_stopped_) return shutdown_->begin(order);
  TimePoint by = loop_->now() + std::min(order.grace, kMostGrace);
  if (!end_) end_ = End{order, by};
  end_->by = std::min(end_->by, by);
  end_->order.grace = std::min(end_->order.grace, order.grace);
  supervisor_->stop(order.grace, [this] {
    services_have_stopped_ = true;
    ShutdownOrder rest = end_->order;
    rest.grace = std::max(end_->by - loop_->now(), std::min(rest.grace, kLeastGrace));
    shutdown_->begin(rest);
  });
}

}  // namespace sluice::agent
