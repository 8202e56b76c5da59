#include "hostd/ctl/guest_commands.h"

#include <fmt/format.h>

#include "agent/client/endpoint.h"
#include "base/uv_loop.h"
#include "hostd/ctl/guest_exec.h"
#include "hostd/ctl/guest_text.h"
#include "hostd/ctl/table.h"
#include "hostd/ctl/text.h"

namespace sluice::ctl {

namespace {

using agent::client::Caller;
using agent::rpc::CallError;
using agent::rpc::Code;
using nlohmann::json;

double milliseconds(std::int64_t ns) {
  return static_cast<double>(ns) / 1e6;
}

}  // namespace

int GuestCommands::run(const Begin& begin, int failed) {
  auto loop = UvLoop::create();
  if (!loop) {
    print_error(loop.status().message());
    return failed;
  }
  auto link = agent::client::dial(
      **loop, {.kind = agent::client::AgentEndpoint::Kind::unix_socket, .path = socket_});
  if (!link) {
    print_error(fmt::format("{}; hostd run --agent ENDPOINT says where the guest's agent is",
                            link.status().message()));
    return failed;
  }
  int status = failed;
  bool ended = false;
  auto end = [&](int result) {
    if (ended) return;
    ended = true;
    status = result;
    (*loop)->stop();
  };
  Caller caller(**loop, std::move(*link), [&] {
    if (!ended) print_error("hostd has closed the connection");
    end(failed);
  });
  std::shared_ptr<void> kept = begin(**loop, caller, end);
  (*loop)->run();
  return status;
}

int GuestCommands::ping() {
  return run([this](UvLoop&, Caller& caller, const End& end) {
    TimePoint start = std::chrono::steady_clock::now();
    agent::client::ping(
        caller, [this, start, end](const CallError& error, const agent::client::Ping& pong) {
          if (!worked(error, end)) return;
          std::int64_t took = (std::chrono::steady_clock::now() - start).count();
          if (output_ == Output::json) {
            fmt::print("{}\n", json{{"version", pong.version},
                                    {"protocol", pong.protocol},
                                    {"features", pong.features},
                                    {"boot_id", pong.boot_id},
                                    {"realtime_ns", pong.realtime_ns},
                                    {"boottime_ns", pong.boottime_ns},
                                    {"round_trip_ns", took}}
                                   .dump());
          } else {
            fmt::print("agent {} answers after {:.2f} ms; up {:.1f} s; it can: {}\n",
                       printable(pong.version), milliseconds(took),
                       milliseconds(pong.boottime_ns) / 1000, joined(json(pong.features)));
          }
          end(0);
        });
    return nullptr;
  });
}

int GuestCommands::info() {
  return run([this](UvLoop&, Caller& caller, const End& end) {
    agent::client::system_info(
        caller, [this, end](const CallError& error, const agent::client::SystemInfo& info) {
          if (!worked(error, end)) return;
          if (output_ == Output::json) {
            json interfaces = json::array();
            for (const auto& one : info.interfaces) {
              interfaces.push_back({{"name", one.name},
                                    {"mac", one.mac},
                                    {"mtu", one.mtu},
                                    {"up", one.up},
                                    {"addresses", one.addresses}});
            }
            fmt::print("{}\n", json{{"hostname", info.hostname},
                                    {"kernel", info.kernel},
                                    {"os_name", info.os_name},
                                    {"os_version", info.os_version},
                                    {"arch", info.arch},
                                    {"total_memory", info.total_memory},
                                    {"available_memory", info.available_memory},
                                    {"cpus", info.cpus},
                                    {"load", info.load},
                                    {"uptime_ns", info.uptime_ns},
                                    {"interfaces", std::move(interfaces)}}
                                   .dump());
            return end(0);
          }
          std::string os =
              info.os_name.empty() ? "no /etc/os-release" : info.os_name + " " + info.os_version;
          fmt::print("host name  {}\nsystem     {}, Linux {} on {}\n", printable(info.hostname),
                     printable(os), printable(info.kernel), printable(info.arch));
          fmt::print("memory     {} MiB, {} MiB of them available\n", info.total_memory >> 20,
                     info.available_memory >> 20);
          fmt::print("CPUs       {}, load {:.2f}\n", info.cpus, fmt::join(info.load, " "));
          fmt::print("up         {:.1f} s\n", milliseconds(info.uptime_ns) / 1000);
          for (const auto& one : info.interfaces) {
            fmt::print("{:<10} {}, MTU {}{}{}\n", printable(one.name), one.up ? "up" : "down",
                       one.mtu, one.addresses.empty() ? "" : ", ", joined(json(one.addresses)));
          }
          end(0);
        });
    return nullptr;
  });
}

int GuestCommands::boot() {
  return run([this](UvLoop&, Caller& caller, const End& end) {
    agent::client::boot_report(
        caller, [this, end](const CallError& error, const agent::client::BootReport& report) {
          if (!worked(error, end)) return;
          if (output_ == Output::json) {
            json steps = json::array();
            for (const auto& step : report.steps) {
              steps.push_back({{"name", step.name},
                               {"result", step.result},
                               {"mandatory", step.mandatory},
                               {"error", step.error},
                               {"message", step.message},
                               {"started_ns", step.started_ns},
                               {"duration_ns", step.duration_ns}});
            }
            fmt::print("{}\n", json{{"steps", std::move(steps)},
                                    {"complete", report.complete},
                                    {"failed", report.failed}}
                                   .dump());
          } else {
            Table table({"AT MS", "TOOK MS", "RESULT", "STEP", ""}, {0, 1});
            for (const auto& step : report.steps) {
              table.add({fmt::format("{:.2f}", milliseconds(step.started_ns)),
                         fmt::format("{:.2f}", milliseconds(step.duration_ns)), step.result,
                         printable(step.name), printable(step.message)});
            }
            print(table.to_string("The agent has brought up nothing.\n"));
          }
          end(report.failed ? kFailed : 0);
        });
    return nullptr;
  });
}

int GuestCommands::processes() {
  return run([this](UvLoop&, Caller& caller, const End& end) {
    agent::client::list_processes(
        caller, [this, end](const CallError& error,
                            const std::vector<agent::client::ProcessInfo>& processes) {
          if (!worked(error, end)) return;
          if (output_ == Output::json) {
            json list = json::array();
            for (const auto& one : processes) {
              json exit = nullptr;
              if (one.exit) exit = {{"code", one.exit->code}, {"signal", one.exit->signal}};
              list.push_back({{"id", one.id},
                              {"pid", one.pid},
                              {"args", one.args},
                              {"started_at_ns", one.started_at_ns},
                              {"exit", std::move(exit)}});
            }
            fmt::print("{}\n", list.dump());
          } else {
            Table table({"ID", "PID", "STATUS", "COMMAND"}, {1});
            for (const auto& one : processes) {
              std::string status = "running";
              if (one.exit) status = fmt::format("exited ({})", one.exit->code);
              table.add({one.id.substr(0, 12), fmt::format("{}", one.pid), status,
                         printable(fmt::format("{}", fmt::join(one.args, " ")))});
            }
            print(table.to_string("No process was started by a call.\n"));
          }
          end(0);
        });
    return nullptr;
  });
}

int GuestCommands::exec(const ExecAsked& asked) {
  return run(
      [&asked](UvLoop& loop, Caller& caller, const End& end) {
        auto session = std::make_shared<GuestExec>(loop, asked);
        session->begin(caller, end);
        return session;
      },
      kCallFailed);
}

int GuestCommands::shutdown(bool reboot, double grace_seconds) {
  return run([reboot, grace_seconds](UvLoop&, Caller& caller, const End& end) {
    auto grace = std::chrono::duration_cast<Duration>(std::chrono::duration<double>(grace_seconds));
    agent::client::shutdown(caller, reboot, grace,
                            [end](const CallError& error, const agent::client::Done&) {
                              // A guest that ends may take the answer along.
                              if (error.code == Code::aborted) return end(0);
                              if (worked(error, end)) end(0);
                            });
    return nullptr;
  });
}

}  // namespace sluice::ctl
