#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "agent/client/caller.h"
#include "agent/client/unary.h"

/// The calls of the service Services, and Container.Top, in C++ (agent/proto has what each does).
/// All callbacks come on the loop's thread and never from inside the call that set them up.
namespace sluice::agent::client {

struct ServiceInfo {
  std::string name;
  std::string state;  ///< "waiting", "starting", "ready", "backoff", "ended", "stopping", "stopped"
  std::int32_t pid = 0;
  std::uint64_t restarts = 0;
  std::int64_t since_ns = 0;
  std::string problem;
};

enum class ServiceOrder : std::uint8_t { start, stop, restart };

/// What came of an order.
struct OrderedService {
  ServiceInfo service;
  std::vector<std::string> others;  ///< That it was about too.
};

struct ServiceLog {
  std::string text;
  std::uint64_t lost = 0;
};

/// A process of a container, as the VM sees it.
struct ContainerProcess {
  std::int32_t pid = 0;
  std::int32_t inner_pid = 0;  ///< In the container.
  std::uint32_t uid = 0;
  std::string state;  ///< As ps(1) has it: "S"
  std::uint64_t cpu_ns = 0;
  std::uint64_t memory = 0;  ///< Bytes resident.
  std::vector<std::string> args;
};

void list_services(Caller& caller, OnAnswer<std::vector<ServiceInfo>> on_answer);
/// Answered when it has come about.
void order_service(Caller& caller, ServiceOrder order, const std::string& name,
                   OnAnswer<OrderedService> on_answer);
void service_log(Caller& caller, const std::string& name, OnAnswer<ServiceLog> on_answer);
void container_top(Caller& caller, const std::string& container,
                   OnAnswer<std::vector<ContainerProcess>> on_answer);

}  // namespace sluice::agent::client
