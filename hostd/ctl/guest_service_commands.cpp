#include "hostd/ctl/guest_service_commands.h"

#include <fmt/format.h>
#include <unistd.h>

#include "agent/client/services.h"
#include "hostd/ctl/container_text.h"
#include "hostd/ctl/guest_text.h"
#include "hostd/ctl/table.h"
#include "hostd/ctl/text.h"

namespace sluice::ctl {

namespace {

using agent::client::Caller;
using agent::client::ContainerProcess;
using agent::client::OrderedService;
using agent::client::ServiceInfo;
using agent::client::ServiceLog;
using agent::client::ServiceOrder;
using agent::rpc::CallError;
using nlohmann::json;
using End = GuestCommands::End;

void print_services(Output output, const std::vector<ServiceInfo>& services) {
  if (output == Output::json) {
    json list = json::array();
    for (const ServiceInfo& one : services) {
      list.push_back({{"name", one.name},
                      {"state", one.state},
                      {"ready", one.state == "ready"},
                      {"pid", one.pid},
                      {"restarts", one.restarts},
                      {"since_ns", one.since_ns},
                      {"problem", one.problem}});
    }
    return print(list.dump() + "\n");
  }
  Table table({"SERVICE", "STATE", "PID", "RESTARTS", "SINCE", ""}, {2, 3});
  for (const ServiceInfo& one : services) {
    table.add({printable(one.name), one.state, one.pid > 0 ? fmt::format("{}", one.pid) : "-",
               fmt::format("{}", one.restarts), time_text(one.since_ns), printable(one.problem)});
  }
  print(table.to_string("The guest has no services."));
}

void print_ordered(Output output, ServiceOrder order, const OrderedService& ordered) {
  const ServiceInfo& one = ordered.service;
  if (output == Output::json) {
    return print(
        json{{"name", one.name}, {"state", one.state}, {"pid", one.pid}, {"others", ordered.others}}
            .dump() +
        "\n");
  }
  std::string pid = one.pid > 0 ? fmt::format(" (pid {})", one.pid) : "";
  print(fmt::format("{} is {}{}\n", printable(one.name), one.state, pid));
  if (ordered.others.empty()) return;
  const char* done = order == ServiceOrder::start  ? "started"
                     : order == ServiceOrder::stop ? "stopped"
                                                   : "restarted";
  print(fmt::format("also {}: {}\n", done,
                    printable(fmt::format("{}", fmt::join(ordered.others, ", ")))));
}

void print_processes(Output output, const std::vector<ContainerProcess>& processes) {
  if (output == Output::json) {
    json list = json::array();
    for (const ContainerProcess& one : processes) {
      list.push_back({{"pid", one.pid},
                      {"inner_pid", one.inner_pid},
                      {"uid", one.uid},
                      {"state", one.state},
                      {"cpu_ns", one.cpu_ns},
                      {"memory", one.memory},
                      {"args", one.args}});
    }
    return print(list.dump() + "\n");
  }
  Table table({"PID", "INSIDE", "UID", "STATE", "CPU S", "MEMORY", "COMMAND"}, {0, 1, 2, 4, 5});
  for (const ContainerProcess& one : processes) {
    table.add({fmt::format("{}", one.pid), fmt::format("{}", one.inner_pid),
               fmt::format("{}", one.uid), printable(one.state),
               fmt::format("{:.2f}", static_cast<double>(one.cpu_ns) / 1e9),
               short_bytes(one.memory), printable(fmt::format("{}", fmt::join(one.args, " ")))});
  }
  print(table.to_string("It has no processes."));
}

}  // namespace

int GuestServiceCommands::services() {
  return guest_.run([this](UvLoop&, Caller& caller, const End& end) {
    agent::client::list_services(
        caller, [this, end](const CallError& error, const std::vector<ServiceInfo>& services) {
          if (!worked(error, end)) return;
          print_services(guest_.output(), services);
          end(0);
        });
    return nullptr;
  });
}

int GuestServiceCommands::order(ServiceOrder order, const std::string& name) {
  return guest_.run([this, &name, order](UvLoop&, Caller& caller, const End& end) {
    agent::client::order_service(
        caller, order, name,
        [this, order, end](const CallError& error, const OrderedService& ordered) {
          if (!worked(error, end)) return;
          print_ordered(guest_.output(), order, ordered);
          end(0);
        });
    return nullptr;
  });
}

int GuestServiceCommands::logs(const std::string& name) {
  return guest_.run([&name](UvLoop&, Caller& caller, const End& end) {
    agent::client::service_log(caller, name, [end](const CallError& error, const ServiceLog& log) {
      if (!worked(error, end)) return;
      if (log.lost > 0) print_error(fmt::format("{} bytes before are not kept", log.lost));
      write_all(STDOUT_FILENO,
                {reinterpret_cast<const std::uint8_t*>(log.text.data()), log.text.size()});
      end(0);
    });
    return nullptr;
  });
}

int GuestServiceCommands::top(const std::string& container) {
  return guest_.run([this, &container](UvLoop&, Caller& caller, const End& end) {
    agent::client::container_top(
        caller, container,
        [this, end](const CallError& error, const std::vector<ContainerProcess>& processes) {
          if (!worked(error, end)) return;
          print_processes(guest_.output(), processes);
          end(0);
        });
    return nullptr;
  });
}

}  // namespace sluice::ctl
