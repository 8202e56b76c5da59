#include "agent/supervise/supervisor.h"

#include <fmt/format.h>

#include <algorithm>
#include <csignal>

#include "base/log.h"

namespace sluice::agent {

namespace {

constexpr Duration kFirstDelay = std::chrono::milliseconds(100);
constexpr Duration kMostDelay = std::chrono::minutes(1);
constexpr Duration kGoodRun = std::chrono::seconds(10);
constexpr Duration kFirstProbe = std::chrono::milliseconds(20);
constexpr Duration kMostProbe = std::chrono::seconds(1);
/// Beyond it there is no limit.
constexpr Duration kMostLimit = std::chrono::hours(24 * 365);

std::string how_it_ended(const Exit& exit) {
  return exit.signal != 0 ? fmt::format("ended by signal {}", exit.signal)
                          : fmt::format("exited with {}", exit.code);
}

}  // namespace

void Supervisor::start(std::vector<ServiceSpec> services) {
  for (ServiceSpec& spec : services) {
    auto service = std::make_unique<Service>();
    Service& one = *service;
    one.spec = std::move(spec);
    one.since_ns = loop_.wall_time_ns();
    one.timer = loop_.make_timer([this, &one] { on_timer(one); });
    services_.push_back(std::move(service));
  }
  look();
}

std::vector<Supervisor::View> Supervisor::list() const {
  std::vector<View> views;
  for (const auto& one : services_) {
    View view{.name = one->spec.name,
              .state = one->state,
              .pid = one->pid,
              .restarts = one->restarts,
              .since_ns = one->since_ns,
              .problem = one->problem};
    if (one->state == State::waiting) {
      view.problem = fmt::format("waits for {}", waits_for(*one));
    }
    views.push_back(std::move(view));
  }
  return views;
}

const ServiceOutput* Supervisor::output(std::string_view name) const {
  const Service* service = find(name);
  return service ? &service->output : nullptr;
}

Supervisor::Service* Supervisor::find(std::string_view name) const {
  for (const auto& one : services_) {
    if (one->spec.name == name) return one.get();
  }
  return nullptr;
}

void Supervisor::enter(Service& service, State state) {
  service.state = state;
  service.since_ns = loop_.wall_time_ns();
  if (watchers_.empty() || std::exchange(is_telling_, true)) return;
  loop_.defer([this] {
    is_telling_ = false;
    std::vector<std::uint64_t> numbers;
    for (const auto& [number, watcher] : watchers_) numbers.push_back(number);
    for (std::uint64_t number : numbers) {
      // One may have taken another away.
      auto found = watchers_.find(number);
      if (found == watchers_.end()) continue;
      auto watcher = found->second;
      watcher();
    }
  });
}

std::uint64_t Supervisor::watch(std::function<void()> watcher) {
  watchers_.emplace(next_watcher_, std::move(watcher));
  return next_watcher_++;
}

void Supervisor::tell(const Service& service, Change::Kind kind, const Exit& exit) const {
  if (!observer_) return;
  observer_({.kind = kind,
             .name = service.spec.name,
             .pid = service.pid,
             .exit = exit,
             .problem = service.problem});
}

/// Which of those that it is after is not ready; empty: none. One that had something to do, and has
/// done it, is.
std::string_view Supervisor::waits_for(const Service& service) const {
  for (const std::string& name : service.spec.after) {
    const Service* other = find(name);
    bool done = other->state == State::ended && other->succeeded;
    if (other->state != State::ready && !done) return name;
  }
  return {};
}

/// Those that are after it, directly or by others. A table has them behind it.
std::set<const Supervisor::Service*> Supervisor::after(const Service& service) const {
  std::set<const Service*> found{&service};
  for (const auto& one : services_) {
    for (const std::string& name : one->spec.after) {
      if (found.count(find(name)) > 0) found.insert(one.get());
    }
  }
  return found;
}

/// Those that it is after.
std::set<const Supervisor::Service*> Supervisor::before(const Service& service) const {
  std::set<const Service*> found{&service};
  for (auto one = services_.rbegin(); one != services_.rend(); ++one) {
    if (found.count(one->get()) == 0) continue;
    for (const std::string& name : (*one)->spec.after) found.insert(find(name));
  }
  return found;
}

/// It has stopped and is to run again, and nobody that it is after is still to stop.
bool Supervisor::may_rise(const Service& service) const {
  return service.state == State::stopped && service.wish != Wish::down && !stopping_ &&
         std::none_of(service.spec.after.begin(), service.spec.after.end(),
                      [&](const auto& name) { return find(name)->wish != Wish::up; });
}

void Supervisor::rise(Service& service) {
  service.wish = Wish::up;
  service.succeeded = false;
  service.delay = Duration::zero();
  service.timer->stop();
  enter(service, State::waiting);
}

/// Nobody who is after it runs any more.
bool Supervisor::may_stop(const Service& service) const {
  return std::none_of(services_.begin(), services_.end(), [&](const auto& other) {
    const auto& after = other->spec.after;
    return other->state != State::stopped &&
           std::find(after.begin(), after.end(), service.spec.name) != after.end();
  });
}

/// What can go on does, until nothing can.
void Supervisor::look() {
  bool changed = true;
  while (changed) {
    changed = false;
    for (const auto& one : services_) {
      State before = one->state;
      bool to_stop = is_to_stop(*one);
      if (may_rise(*one)) {
        rise(*one);
      } else if (to_stop && before != State::stopping && before != State::stopped &&
                 may_stop(*one)) {
        begin_stop(*one);
      } else if (!to_stop && before == State::waiting && waits_for(*one).empty()) {
        launch(*one);
      }
      changed |= one->state != before;
    }
  }
  bool over = stopping_ && std::all_of(services_.begin(), services_.end(), [](const auto& one) {
                return one->state == State::stopped;
              });
  if (over && on_stopped_) {
    auto done = std::exchange(on_stopped_, nullptr);
    loop_.defer(std::move(done));
  }
}

void Supervisor::launch(Service& service) {
  service.started_at = loop_.now();
  auto pid = runner_.start(
      service.spec,
      {.on_output = [&service](std::string_view bytes) { service.output.write(bytes); },
       .on_exit = [this, &service](const Exit& exit) { on_exit(service, exit); }});
  if (!pid) {
    service.problem = pid.status().message();
    log(LogLevel::error, "agent: service {}: {}", service.spec.name, service.problem);
    tell(service, Change::Kind::failed);
    retry(service);
    return;
  }
  service.pid = *pid;
  tell(service, Change::Kind::started);
  if (!service.spec.ready.any()) {
    enter(service, State::ready);
    tell(service, Change::Kind::ready);
    return;
  }
  enter(service, State::starting);
  service.probe_delay = kFirstProbe;
  ask(service);
}

void Supervisor::ask(Service& service) {
  service.probe = runner_.probe(service.spec.ready,
                                [this, &service](bool ready) { on_answer(service, ready); });
}

void Supervisor::on_answer(Service& service, bool ready) {
  // Not from within its own call.
  loop_.defer([probe = std::shared_ptr<Probe>(std::move(service.probe))] {});
  if (service.state != State::starting) return;
  if (!ready) {
    service.timer->start(service.probe_delay);
    service.probe_delay = std::min(2 * service.probe_delay, kMostProbe);
    return;
  }
  enter(service, State::ready);
  tell(service, Change::Kind::ready);
  look();
}

void Supervisor::on_exit(Service& service, const Exit& exit) {
  // Before anything else: "ready" is not to be said of what has ended.
  bool stopped = service.state == State::stopping;
  runner_.kill_all(service.spec, service.pid);
  service.probe.reset();
  service.timer->stop();
  service.problem = how_it_ended(exit);
  service.succeeded = exit.code == 0 && exit.signal == 0;
  tell(service, Change::Kind::ended, exit);
  service.pid = 0;
  using Restart = ServiceSpec::Restart;
  bool again = service.spec.restart == Restart::always ||
               (service.spec.restart == Restart::on_failure && !service.succeeded);
  if (stopped) {
    enter(service, State::stopped);
    tell(service, Change::Kind::stopped);
  } else if (again) {
    log(LogLevel::notice, "agent: service {} {}", service.spec.name, service.problem);
    retry(service);
  } else {
    enter(service, State::ended);
    if (!service.succeeded) tell(service, Change::Kind::given_up);
  }
  look();
}

void Supervisor::retry(Service& service) {
  if (loop_.now() - service.started_at >= kGoodRun) service.delay = Duration::zero();
  service.delay = std::clamp(2 * service.delay, kFirstDelay, kMostDelay);
  enter(service, State::backoff);
  service.timer->start(service.delay);
}

void Supervisor::on_timer(Service& service) {
  switch (service.state) {
    case State::starting:
      ask(service);
      break;
    case State::backoff:
      ++service.restarts;
      // What it is after may have gone meanwhile.
      enter(service, State::waiting);
      look();
      break;
    case State::stopping:
      runner_.kill_all(service.spec, service.pid);
      break;
    default:
      break;
  }
}

void Supervisor::begin_stop(Service& service) {
  service.probe.reset();
  service.timer->stop();
  if (service.pid == 0) {
    enter(service, State::stopped);
    tell(service, Change::Kind::stopped);
    return;
  }
  enter(service, State::stopping);
  runner_.signal(service.pid, SIGTERM);
  service.kill_at = loop_.now() + service.spec.stop_grace;
  if (stopping_) service.kill_at = std::min(service.kill_at, stop_by_);
  service.timer->start(std::max<Duration>(service.kill_at - loop_.now(), Duration::zero()));
}

void Supervisor::stop(Duration limit, std::function<void()> on_done) {
  TimePoint by = loop_.now() + std::min(limit, kMostLimit);
  if (!stopping_ || by < stop_by_) {
    if (!std::exchange(stopping_, true)) on_stopped_ = std::move(on_done);
    stop_by_ = by;
    for (const auto& one : services_) {
      if (one->state != State::stopping || one->kill_at <= by) continue;
      one->kill_at = by;
      one->timer->start(std::max<Duration>(by - loop_.now(), Duration::zero()));
    }
  }
  look();
}

Result<std::vector<std::string>> Supervisor::order(std::string_view name, Order order) {
  Service* chosen = find(name);
  if (!chosen) {
    std::string names;
    for (const auto& one : services_) names += (names.empty() ? "" : ", ") + one->spec.name;
    return Status(StatusCode::not_found, fmt::format("there is no service {}; there are {}", name,
                                                     names.empty() ? "none" : names));
  }
  if (stopping_) return Status(StatusCode::refused, "the guest ends");
  std::vector<std::string> others;
  bool starts = order == Order::start;
  std::set<const Service*> about = starts ? before(*chosen) : after(*chosen);
  for (const auto& one : services_) {
    bool is_it = one.get() == chosen;
    if (about.count(one.get()) == 0) continue;
    if (starts) {
      bool is_over = one->state == State::ended && (is_it || !one->succeeded);
      bool waits = is_it && one->state == State::backoff;
      if (one->wish != Wish::down && !is_over && !waits) continue;
      // One that is still to stop, as others stop before it, runs on.
      one->wish = Wish::up;
      if (is_over || waits) rise(*one);
    } else {
      if (!is_it && one->wish == Wish::down) continue;
      one->wish = order == Order::restart ? Wish::restart : Wish::down;
    }
    if (!is_it) others.push_back(one->spec.name);
  }
  look();
  return others;
}

std::optional<Status> Supervisor::outcome(std::string_view name, Order order) const {
  const Service& service = *find(name);
  bool is_down = service.state == State::stopped && service.wish == Wish::down;
  if (stopping_) return Status(StatusCode::refused, "the guest ends");
  if (order == Order::stop) {
    if (is_down) return Status::ok();
    if (service.wish == Wish::down) return std::nullopt;
    return Status(StatusCode::refused, fmt::format("{} was started again", name));
  }
  if (service.wish == Wish::restart) return std::nullopt;
  if (service.wish == Wish::down) {
    return Status(StatusCode::refused, fmt::format("{} was stopped meanwhile", name));
  }
  if (service.state == State::ready) return Status::ok();
  bool is_over = service.state == State::ended || service.state == State::backoff;
  if (!is_over) return std::nullopt;
  if (service.succeeded && service.state == State::ended) return Status::ok();
  return Status(StatusCode::refused, fmt::format("{}: {}", name, service.problem));
}

std::string_view to_string(Supervisor::State state) {
  switch (state) {
    case Supervisor::State::waiting:
      return "waiting";
    case Supervisor::State::starting:
      return "starting";
    case Supervisor::State::ready:
      return "ready";
    case Supervisor::State::backoff:
      return "backoff";
    case Supervisor::State::ended:
      return "ended";
    case Supervisor::State::stopping:
      return "stopping";
    case Supervisor::State::stopped:
      return "stopped";
  }
  return "";
}

}  // namespace sluice::agent
