#pragma once

#include <net/status.h>
#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
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
//
// One that is stopped by order stays `stopped` until it is ordered to start, or the guest boots.
// As nobody runs before what it is after is ready, those that are after it are stopped before it,
// and an order to start begins with what it is after.

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

  /// What has just happened to a service.
  struct Change {
    enum class Kind : std::uint8_t {
      started,
      ready,
      ended,     ///< `exit` has how.
      failed,    ///< It could not be started; `problem` says why.
      given_up,  ///< It is not started again: it ended badly, and its table has it so.
      stopped,   ///< By order, or as the guest ends.
    };
    Kind kind = Kind::started;
    const std::string& name;
    pid_t pid = 0;  ///< The one that it has or had.
    Exit exit;
    const std::string& problem;
  };
  using Observer = std::function<void(const Change&)>;

  enum class Order : std::uint8_t { start, stop, restart };

  Supervisor(Loop& loop, ServiceRunner& runner) : loop_(loop), runner_(runner) {}
  Supervisor(const Supervisor&) = delete;
  Supervisor& operator=(const Supervisor&) = delete;

  /// Once. Each behind what it is after, as a SystemTable has them.
  void start(std::vector<ServiceSpec> services);
  std::vector<View> list() const;
  /// Called from within a change: it must not call back.
  void set_observer(Observer observer) { observer_ = std::move(observer); }

  /// Stopping and restarting take those along that are after it, and that run or are about to;
  /// starting what it is after. What is so already is left alone. The names of the others that it
  /// is about, in the table's order. not_found names the services that there are; refused: the
  /// guest ends.
  Result<std::vector<std::string>> order(std::string_view name, Order order);
  /// What came of the latest order: ok once a service that was to start is ready (or has done what
  /// it had to do), or once one that was to stop has. refused: it ended, or was stopped by another
  /// order, before that. Nothing as long as it is under way.
  std::optional<Status> outcome(std::string_view name, Order order) const;
  /// Called from the loop after every change of any service, until unwatch().
  std::uint64_t watch(std::function<void()> watcher);
  void unwatch(std::uint64_t number) { watchers_.erase(number); }
  /// Null where there is none of that name.
  const ServiceOutput* output(std::string_view name) const;

  /// Stops all, each before what it is after: SIGTERM, SIGKILL to all of it when its grace or
  /// `limit` is over. `on_done` is called from the loop once no service is left. Called again it
  /// only shortens the limit.
  void stop(Duration limit, std::function<void()> on_done);

 private:
  enum class Wish : std::uint8_t { up, down, restart };
  struct Service {
    ServiceSpec spec;
    Wish wish = Wish::up;
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
  std::set<const Service*> after(const Service& service) const;
  std::set<const Service*> before(const Service& service) const;
  bool is_to_stop(const Service& service) const { return stopping_ || service.wish != Wish::up; }
  bool may_rise(const Service& service) const;
  void rise(Service& service);
  void tell(const Service& service, Change::Kind kind, const Exit& exit = {}) const;
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
  Observer observer_;
  std::map<std::uint64_t, std::function<void()>> watchers_;
  std::uint64_t next_watcher_ = 1;
  bool is_telling_ = false;
};

std::string_view to_string(Supervisor::State state);

}  // namespace sluice::agent
