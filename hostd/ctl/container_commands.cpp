#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <ctime>

#include "agent/client/containers.h"
#include "hostd/ctl/container_run.h"
#include "hostd/ctl/container_text.h"
#include "hostd/ctl/guest_commands.h"
#include "hostd/ctl/guest_text.h"
#include "hostd/ctl/table.h"
#include "hostd/ctl/text.h"

namespace sluice::ctl {

namespace {

using agent::client::Caller;
using agent::client::ContainerExit;
using agent::client::ContainerInfo;
using agent::client::ContainerStats;
using agent::client::Done;
using agent::rpc::CallError;
using agent::rpc::Code;
using nlohmann::json;

constexpr int kBadUsage = 2;
constexpr std::size_t kShortId = 12;

std::int64_t now_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return static_cast<std::int64_t>(now.tv_sec) * 1'000'000'000 + now.tv_nsec;
}

/// A record's lines, each with its time before it.
std::string with_times(ConstBytes data, std::int64_t time_ns) {
  std::string text;
  std::string time = time_text(time_ns) + " ";
  bool begins = true;
  for (std::uint8_t byte : data) {
    if (begins) text += time;
    text += static_cast<char>(byte);
    begins = byte == '\n';
  }
  return text;
}

}  // namespace

int GuestCommands::for_each(const Names& names, const Each& each) {
  return run([&](UvLoop&, Caller& caller, const End& end) {
    struct Walk {
      std::size_t at = 0;
      bool good = true;
      std::function<void()> step;
    };
    auto walk = std::make_shared<Walk>();
    walk->step = [&caller, &names, &each, end, raw = walk.get()] {
      if (raw->at == names.size()) return end(raw->good ? 0 : kFailed);
      each(caller, names[raw->at++], [raw](bool good) {
        raw->good &= good;
        raw->step();
      });
    };
    walk->step();
    return walk;
  });
}

int GuestCommands::run_container(const RunAsked& asked) {
  return run(
      [&asked](UvLoop& loop, Caller& caller, const End& end) {
        auto session = std::make_shared<ContainerRun>(loop, asked);
        session->begin(caller, end);
        return session;
      },
      kCallFailed);
}

int GuestCommands::containers(bool all) {
  return run([this, all](UvLoop&, Caller& caller, const End& end) {
    agent::client::list_containers(
        caller, all,
        [this, end](const CallError& error, const std::vector<ContainerInfo>& containers) {
          if (!worked(error)) return end(kFailed);
          if (output_ == Output::json) {
            json list = json::array();
            for (const ContainerInfo& one : containers) list.push_back(json_of(one));
            fmt::print("{}\n", list.dump());
            return end(0);
          }
          Table table({"ID", "NAME", "IMAGE", "STATE", "AGE", "ADDRESSES", "COMMAND"});
          for (const ContainerInfo& one : containers) {
            double age = static_cast<double>(now_ns() - one.created_at_ns) / 1e9;
            table.add({one.id.substr(0, kShortId), printable(one.name), printable(one.image),
                       state_text(one), short_time(std::max(age, 0.0)), joined(one.addresses),
                       printable(fmt::format("{}", fmt::join(one.args, " ")))});
          }
          print(table.to_string("No container runs.\n"));
          end(0);
        });
    return nullptr;
  });
}

int GuestCommands::logs(const LogsAsked& asked) {
  agent::client::LogsSpec spec{
      .container = asked.container, .follow = asked.follow, .tail = asked.tail};
  for (auto [words, into] :
       {std::pair(&asked.since, &spec.since_ns), {&asked.until, &spec.until_ns}}) {
    if (words->empty()) continue;
    auto moment = parse_moment(*words, now_ns());
    if (!moment) {
      fmt::print(stderr, "hostctl: {}: 10m, 1h, 2026-01-31T10:00:00Z, or seconds since 1970\n",
                 printable(*words));
      return kBadUsage;
    }
    *into = *moment;
  }
  return run([spec, &asked](UvLoop&, Caller& caller, const End& end) {
    return std::make_shared<agent::client::ContainerLogs>(
        caller, spec,
        agent::client::ContainerLogs::Events{
            .on_record =
                [&asked, end](bool is_stderr, std::int64_t time_ns, ConstBytes data) {
                  std::string timed;
                  if (asked.times) {
                    timed = with_times(data, time_ns);
                    data = {reinterpret_cast<const std::uint8_t*>(timed.data()), timed.size()};
                  }
                  if (!write_all(is_stderr ? STDERR_FILENO : STDOUT_FILENO, data)) end(kFailed);
                },
            .on_lost = tell_lost,
            .on_end = [end](const CallError& error) { end(worked(error) ? 0 : kFailed); }});
  });
}

namespace {

/// For a call of which only the failure is of interest.
auto tell(const std::function<void(bool)>& next) {
  return [next](const CallError& error, const Done&) { next(worked(error)); };
}

}  // namespace

int GuestCommands::start(const Names& names) {
  return for_each(names, [](Caller& caller, const std::string& name, const auto& next) {
    agent::client::start_container(caller, name, tell(next));
  });
}

int GuestCommands::stop(const Names& names, const std::string& signal, double timeout_seconds) {
  // "At once" and "as the container has it" are both 0 for people.
  auto timeout =
      std::chrono::duration_cast<Duration>(std::chrono::duration<double>(timeout_seconds));
  return for_each(names, [&](Caller& caller, const std::string& name, const auto& next) {
    agent::client::stop_container(
        caller, name, signal, timeout,
        [next](const CallError& error, const ContainerExit&) { next(worked(error)); });
  });
}

int GuestCommands::kill(const Names& names, const std::string& signal) {
  return for_each(names, [&](Caller& caller, const std::string& name, const auto& next) {
    agent::client::kill_container(caller, name, signal, tell(next));
  });
}

int GuestCommands::remove(const Names& names, bool force) {
  return for_each(names, [&](Caller& caller, const std::string& name, const auto& next) {
    agent::client::remove_container(caller, name, force, tell(next));
  });
}

int GuestCommands::pause(const Names& names) {
  return for_each(names, [](Caller& caller, const std::string& name, const auto& next) {
    agent::client::pause_container(caller, name, tell(next));
  });
}

int GuestCommands::resume(const Names& names) {
  return for_each(names, [](Caller& caller, const std::string& name, const auto& next) {
    agent::client::resume_container(caller, name, tell(next));
  });
}

int GuestCommands::wait(const Names& names) {
  return for_each(names, [this](Caller& caller, const std::string& name, const auto& next) {
    agent::client::wait_for_container(
        caller, name, [this, next](const CallError& error, const ContainerExit& exit) {
          if (!worked(error)) return next(false);
          if (output_ == Output::json) {
            fmt::print("{}\n", json_of(exit).dump());
          } else {
            fmt::print("{}\n", exit.code);
          }
          next(true);
        });
  });
}

int GuestCommands::inspect(const std::string& name) {
  return run([&name](UvLoop&, Caller& caller, const End& end) {
    agent::client::inspect_container(
        caller, name,
        [end](const CallError& error, const agent::client::ContainerDetails& details) {
          if (!worked(error)) return end(kFailed);
          constexpr int kIndent = 2;
          fmt::print("{}\n", json_of(details).dump(kIndent));
          end(0);
        });
    return nullptr;
  });
}

int GuestCommands::stats(const Names& names) {
  Table table(
      {"CONTAINER", "CPU S", "MEMORY", "LIMIT", "PIDS", "READ", "WRITTEN", "SENT", "RECEIVED"},
      {1, 2, 3, 4, 5, 6, 7, 8});
  json list = json::array();
  int status = for_each(names, [&](Caller& caller, const std::string& name, const auto& next) {
    agent::client::container_stats(
        caller, name, [&, name, next](const CallError& error, const ContainerStats& stats) {
          if (!worked(error)) return next(false);
          json one = json_of(stats);
          one["container"] = name;
          list.push_back(std::move(one));
          table.add({printable(name),
                     fmt::format("{:.2f}", static_cast<double>(stats.cpu_ns) / 1e9),
                     short_bytes(stats.memory),
                     stats.memory_limit > 0 ? short_bytes(stats.memory_limit) : "-",
                     fmt::format("{}", stats.pids), short_bytes(stats.read_bytes),
                     short_bytes(stats.written_bytes), short_bytes(stats.sent_bytes),
                     short_bytes(stats.received_bytes)});
          next(true);
        });
  });
  if (output_ == Output::json) {
    fmt::print("{}\n", list.dump());
  } else {
    print(table.to_string(""));
  }
  return status;
}

}  // namespace sluice::ctl
