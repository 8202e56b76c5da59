#pragma once

#include <net/status.h>
#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/process/children.h"
#include "agent/supervise/service_output.h"
#include "agent/supervise/service_table.h"
#include "base/loop.h"

// Services: programs of the guest that are started in order, kept alive, and stopped in reverse.
//
//   waiting --what it is after is ready--> starting --probe--> ready
//      ^                                       |                 |
//      |                              exit, "ready" ends with the process
//   backoff <----------------------------------+-----------------+
//      +--100 ms, then twice that each time up to a minute; a run of 10 s starts over

namespace sluice::agent {

/// A question whether a service is ready, under way. Destroying it ends it.
class Probe {
 public:
  virtual ~Probe() = default;
};

/// What the supervisor has done by others, and what a test has a script do.
class ServiceRunner {
 public:
  struct Hooks {
    std::function<void(std::string_view)> on_output;
    std::function<void(const Exit&)> on_exit;  ///< Once.
  };
  virtual ~ServiceRunner() = default;
  /// Its pid; of a failure nothing is left.
  virtual Result<pid_t> start(const ServiceSpec& spec, Hooks hooks) = 0;
  virtual void signal(pid_t pid, int signal) = 0;
  /// SIGKILL to all that it has started, whether it runs itself or not.
  virtual void kill_all(const ServiceSpec& spec, pid_t pid) = 0;
  /// `on_answer` is called once, from the loop.
  virtual std::unique_ptr<Probe> probe(const Readiness& ready,
                                       std::function<void(bool)> on_answer) = 0;
};

/// All services of the guest. One thread.
class Supervisor {
 public:
  enum class State : std::uint8_t { waiting, starting, ready, backoff, ended, stopping, stopped };

  struct View {
    std::string name;
    State state = State::waiting;
    pid_t pid = 0;  ///< 0: it doesn't run.
    std::uint64_t restarts = 0;
    std::int64_t since_ns = 0;  ///< When it came to this state, since the epoch.
    std::string problem;        ///< Why it doesn't run, or how it ended last.
  };

  Supervisor(Loop& loop, ServiceRunner& runner) : loop_(loop), runner_(runner) {}
  Supervisor(const Supervisor&) = delete;
  Supervisor& operator=(const Supervisor&) = delete;

  /// Once. Each behind what it is after, as a SystemTable has them.
  void start(std::vector<ServiceSpec> services);
  std::vector<View> list() const;
  /// Null where there is none of that name.
  const ServiceOutput* output(std::string_view name) const;

  /// Stops all, each before what it is after: SIGTERM, SIGKILL to all of it when its grace or
  /// `limit` is over. `on_done` is called from the loop once no service is left. Called again it
  /// only shortens the limit.
  void stop(Duration limit, std::function<void()> on_done);

 private:
  struct Service {
    ServiceSpec spec;
    State state = State::waiting;
    pid_t pid = 0;
    std::uint64_t restarts = 0;
    std::int64_t since_ns = 0;
    std::string problem;
    ServiceOutput output;
    TimePoint started_at;
    Duration delay{};
    std::unique_ptr<Timer> timer;  ///< Of the restart, the next probe, or the kill.
    std::unique_ptr<Probe> probe;
    Duration probe_delay{};
    TimePoint kill_at;
    bool succeeded = false;  ///< Its last run, which has ended.
  };

  Service* find(std::string_view name) const;
  std::string_view waits_for(const Service& service) const;
  bool may_stop(const Service& service) const;
  void enter(Service& service, State state);
  void look();
  void launch(Service& service);
  void ask(Service& service);
  void on_answer(Service& service, bool ready);
  void on_exit(Service& service, const Exit& exit);
  void retry(Service& service);
  void on_timer(Service& service);
  void begin_stop(Service& service);

  Loop& loop_;
  ServiceRunner& runner_;
  std::vector<std::unique_ptr<Service>> services_;
  bool stopping_ = false;
  TimePoint stop_by_;
  std::function<void()> on_stopped_;
};

std::string_view to_string(Supervisor::State state);

}  // namespace sluice::agent
