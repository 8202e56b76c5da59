#include "agent/container/container.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>

#include "agent/container/json.h"
#include "agent/container/log_reader.h"
#include "agent/container/oci_config.h"
#include "agent/container/rootfs.h"
#include "agent/container/shim.h"
#include "agent/container/unix_socket.h"
#include "agent/os/file.h"
#include "base/log.h"

namespace sluice::agent {

namespace {

using rpc::CallError;
using rpc::Code;

constexpr Duration kFirstBackOff = std::chrono::milliseconds(100);
constexpr Duration kMostBackOff = std::chrono::minutes(1);
/// A run that lasted this long was none of the failures that are backed off from.
constexpr std::int64_t kGoodRunNs = 10'000'000'000;
constexpr Duration kFreezePoll = std::chrono::milliseconds(2);
constexpr const char* kRunFile = "run.json";
constexpr const char* kMerged = "rootfs";
constexpr int kLostCode = 128 + SIGKILL;

CallError failed(std::string message) {
  return {.code = Code::failed_precondition, .message = std::move(message)};
}

}  // namespace

Container::Container(ContainerWorld& world, ContainerSpec spec)
    : world_(world), spec_(std::move(spec)) {
  kill_timer_ = world_.loop.make_timer([this] { kill_all(); });
  restart_timer_ = world_.loop.make_timer([this] {
    ++restarts_;
    // A failure to begin is one more to back off from.
    if (run()) restart_or_rest(true);
  });
  freeze_timer_ = world_.loop.make_timer([this] { poll_freezer(); });
}

Container::~Container() = default;

Cgroup Container::cgroup() const {
  return Cgroup(fmt::format("{}{}/{}", world_.cgroup_root, world_.cgroup, spec_.id));
}

std::string Container::shim_socket() const {
  return file(kShimSocket);
}

std::string Container::rootfs() const {
  return spec_.layers.empty() ? spec_.rootfs : data_directory() + "/" + kMerged;
}

Status Container::save() {
  for (const std::string& path : {state_directory(), data_directory(), log_directory()}) {
    if (Status status = make_directories(path, 0700); !status) return status;
  }
  return replace_file(file(kSpecFile), to_json(spec_), 0600);
}

void Container::save_run() {
  Json run = json_object_new();
  json_put_number(run.get(), "restarts", restarts_);
  json_put_bool(run.get(), "wanted_down", is_wanted_down_);
  json_put(run.get(), "link", port_.link);
  json_put(run.get(), "addresses", port_.addresses);
  json_put_number(run.get(), "log_start", log_start_);
  [[maybe_unused]] Status saved = replace_file(file(kRunFile), json_text(run.get()), 0600);
}

void Container::recover() {
  Json run = json_parse(read_file(file(kRunFile)).value_or(""));
  restarts_ = static_cast<std::uint32_t>(json_get_count(run.get(), "restarts"));
  is_wanted_down_ = json_get_bool(run.get(), "wanted_down");
  port_ = {.link = json_get_text(run.get(), "link"),
           .addresses = json_get_list(run.get(), "addresses")};
  log_start_ = json_get_count(run.get(), "log_start");
  auto status = parse_status(read_file(file(kStatusFile)).value_or(""));
  if (!status) return;
  status_ = std::move(*status);
  world_.bridge.adopt(port_);
  if (!connect_shim()) {
    // The shim has gone: with all said, or killed.
    state_ = State::running;
    on_shim_end();
    return;
  }
  if (!status_.started) {
    // Who asked for the start never heard of it. What comes of it is told by the shim.
    state_ = State::starting;
    kill_all();
    return;
  }
  state_ = State::running;
  if (cgroup().is_frozen()) state_ = State::paused;
  if (is_wanted_down_) kill_timer_->start(Duration(spec_.stop_timeout_ns));
  is_told_ = true;
  if (world_.observer.on_started) {
    world_.observer.on_started(spec_.id, spec_.name, spec_.aliases, port_.addresses);
  }
}

std::uint64_t Container::watch(std::function<void()> watcher) {
  watchers_.emplace(next_watcher_, std::move(watcher));
  return next_watcher_++;
}

std::uint64_t Container::watch_creation(std::function<void()> watcher) {
  creation_watchers_.emplace(next_watcher_, std::move(watcher));
  return next_watcher_++;
}

namespace {

/// Each may take itself or others away.
void call_all(std::map<std::uint64_t, std::function<void()>>& watchers) {
  std::vector<std::uint64_t> numbers;
  for (const auto& [number, watcher] : watchers) numbers.push_back(number);
  for (std::uint64_t number : numbers) {
    auto found = watchers.find(number);
    if (found == watchers.end()) continue;
    auto watcher = found->second;
    watcher();
  }
}

}  // namespace

void Container::set_state(State state) {
  auto kept = shared_from_this();
  state_ = state;
  call_all(watchers_);
}

std::optional<CallError> Container::start() {
  if (is_alive()) {
    return failed(fmt::format("{} {}", spec_.name, is_running() ? "runs already" : "is starting"));
  }
  restart_timer_->stop();
  restarts_ = 0;
  back_off_ = Duration{};
  is_wanted_down_ = false;
  return run();
}

std::optional<CallError> Container::run() {
  Status status = prepare();
  if (status) status = spawn_shim();
  if (status) status = connect_shim();
  if (!status) {
    if (!spec_.layers.empty()) unmount_layers(rootfs());
    return CallError::of(status);
  }
  save_run();
  set_state(State::starting);
  return std::nullopt;
}

Result<std::string> Container::visible_root() const {
  if (is_running()) return fmt::format("/proc/{}/root", status_.pid);
  if (spec_.layers.empty()) return spec_.rootfs;
  return Status(StatusCode::refused,
                fmt::format("{} doesn't run, and what it wrote is not mounted", spec_.name));
}

Status Container::write_network_files() {
  std::string resolvers;
  for (const std::string& server : spec_.dns) resolvers += fmt::format("nameserver {}\n", server);
  if (!spec_.dns_search.empty()) {
    resolvers += fmt::format("search {}\n", fmt::join(spec_.dns_search, " "));
  }
  if (spec_.dns.empty() && spec_.network == ContainerNetwork::bridge && world_.bridge_has_dns) {
    for (const IpAddress& server : world_.bridge.addresses()) {
      resolvers += fmt::format("nameserver {}\n", server.to_string());
    }
  } else if (spec_.dns.empty()) {
    resolvers += read_file("/etc/resolv.conf").value_or("");
  }
  std::string hosts = fmt::format(
      "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.1.1\t{}\n",
      spec_.hostname);
  Status status = write_file(file("resolv.conf"), resolvers);
  if (status) status = write_file(file("hosts"), hosts);
  if (status) status = write_file(file("hostname"), spec_.hostname + "\n");
  return status;
}

Status Container::prepare() {
  status_ = {};
  for (const char* name : {kStatusFile, kRuntimeLog, kPidFile}) ::unlink(file(name).c_str());
  if (!spec_.layers.empty()) {
    Status mounted = mount_layers(spec_.layers, data_directory(), file("layers"), rootfs());
    if (!mounted) return mounted;
  }
  auto identity = identity_in_root(rootfs(), spec_.user);
  if (!identity) return identity.status();
  if (Status status = write_network_files(); !status) return status;
  OciPlace place{.rootfs = rootfs(),
                 .cgroup = world_.cgroup + "/" + spec_.id,
                 .identity = std::move(*identity),
                 .filter = ::access("/proc/sys/kernel/seccomp", F_OK) == 0,
                 .compiled_filter = world_.filters.find(spec_.capabilities),
                 .files = {{file("resolv.conf"), "/etc/resolv.conf"},
                           {file("hosts"), "/etc/hosts"},
                           {file("hostname"), "/etc/hostname"}}};
  log_start_ = LogReader(log_directory()).end();
  return write_file(file("config.json"), oci_config(spec_, place), 0600);
}

Status Container::spawn_shim() {
  auto listener = listen_for_shim(shim_socket());
  if (!listener) return listener.status();
  ShimArguments arguments{.id = spec_.id,
                          .state = state_directory(),
                          .log = log_directory(),
                          .cgroup = cgroup().path(),
                          .runtime = world_.runtime.program(),
                          .runtime_root = world_.runtime.root()};
  SpawnPlan plan;
  plan.program = world_.shim;
  plan.args = {"agent", "shim"};
  for (std::string& one : arguments.to_args()) plan.args.push_back(std::move(one));
  plan.stdio[0] = listener->get();
  plan.stdio[1] = world_.runtime.copy();
  plan.identity.uid = ::geteuid();
  plan.identity.gid = ::getegid();
  Spawned spawned = spawn(plan);
  if (spawned.pid < 0) return Status::from_errno(spawned.error, spawned.step);
  // Its connection tells the same to every agent, its parent or not.
  world_.children.add(spawned.pid, nullptr);
  return Status::ok();
}

Status Container::connect_shim() {
  auto link = ShimLink::connect(
      world_.loop, shim_socket(),
      {.on_word = [this](ShimWord word, ConstBytes rest) { on_shim_word(word, rest); },
       .on_end = [this] { on_shim_end(); },
       .on_room = nullptr});
  if (!link) return link.status();
  link_ = std::move(*link);
  return Status::ok();
}

void Container::on_shim_word(ShimWord word, ConstBytes rest) {
  if (word == ShimWord::created && rest.size() == 4) {
    status_.pid = static_cast<int>(load_be32(rest.data()));
    if (state_ == State::starting) on_process_created();
  } else if (word == ShimWord::started && state_ == State::starting) {
    on_started();
  } else if (word == ShimWord::exited) {
    on_shim_end();
  }
}

void Container::on_process_created() {
  if (spec_.network == ContainerNetwork::bridge) {
    auto port = world_.bridge.add(status_.pid);
    if (!port) {
      status_.exit = ContainerExit{.code = 125, .error = port.status().message()};
      kill_all();
      return;
    }
    port_ = std::move(*port);
    save_run();
  }
  if (world_.filters.find(spec_.capabilities).empty()) {
    std::string path = world_.runtime.directory(spec_.id) + "/seccomp.bpf";
    world_.filters.keep(spec_.capabilities, read_file(path).value_or(""));
  }
  call_all(creation_watchers_);
  link_->send(ShimWord::start);
}

void Container::on_started() {
  status_.started = true;
  status_.started_at_ns = world_.loop.wall_time_ns();
  is_told_ = true;
  if (world_.observer.on_started) {
    world_.observer.on_started(spec_.id, spec_.name, spec_.aliases, port_.addresses);
  }
  set_state(State::running);
}

void Container::on_shim_end() {
  auto kept = shared_from_this();
  if (!is_alive()) return;
  // Destroyed when its callback, which this is, has returned.
  world_.loop.defer([link = std::shared_ptr<ShimLink>(std::move(link_))] {});
  take_exit();
  kill_timer_->stop();
  freeze_timer_->stop();
  world_.bridge.remove(port_);
  port_ = {};
  if (!spec_.layers.empty()) unmount_layers(rootfs());
  bool was_running = status_.started;
  if (std::exchange(is_told_, false) && world_.observer.on_exited) {
    world_.observer.on_exited(spec_.id);
  }
  restart_or_rest(was_running);
}

/// What the shim has written of the end.
void Container::take_exit() {
  auto before = std::move(status_.exit);
  auto status = parse_status(read_file(file(kStatusFile)).value_or(""));
  if (status) status_ = std::move(*status);
  if (!status_.exit) {
    status_.exit = ContainerExit{.code = kLostCode,
                                 .signal = SIGKILL,
                                 .at_ns = world_.loop.wall_time_ns(),
                                 .error = "its shim was killed",
                                 .lost = true};
    clean_up_lost();
  }
  // Why we ended it ourselves.
  if (before && !before->error.empty()) {
    status_.exit->code = before->code;
    status_.exit->error = before->error;
  }
  status_.pid = 0;
  [[maybe_unused]] Status saved = replace_file(file(kStatusFile), to_json(status_), 0600);
}

void Container::clean_up_lost() {
  [[maybe_unused]] Status killed = cgroup().kill();
  Spawned spawned = spawn(world_.runtime.remove(spec_.id, state_directory()));
  if (spawned.pid >= 0) world_.children.add(spawned.pid, nullptr);
}

void Container::restart_or_rest(bool was_running) {
  const RestartPolicy& policy = spec_.restart;
  bool bad = status_.exit && status_.exit->code != 0;
  bool again = policy.kind == RestartPolicy::Kind::always ||
               (policy.kind == RestartPolicy::Kind::on_failure && bad &&
                (policy.most == 0 || restarts_ < policy.most));
  // A first start that failed was answered with an error.
  if (is_wanted_down_ || !again || (!was_running && restarts_ == 0)) {
    save_run();
    set_state(State::stopped);
    return;
  }
  std::int64_t ran =
      status_.exit && status_.started ? status_.exit->at_ns - status_.started_at_ns : 0;
  back_off_ = ran >= kGoodRunNs || back_off_ == Duration{} ? kFirstBackOff
                                                           : std::min(back_off_ * 2, kMostBackOff);
  restart_timer_->start(back_off_);
  save_run();
  set_state(State::restarting);
}

void Container::signal(int number) {
  if (!link_) return;
  std::array<std::uint8_t, 1> message{static_cast<std::uint8_t>(number)};
  link_->send(ShimWord::signal, message);
}

void Container::resize(TerminalSize size) {
  if (!link_) return;
  std::array<std::uint8_t, 4> message{};
  store_be16(&message[0], size.rows);
  store_be16(&message[2], size.columns);
  link_->send(ShimWord::resize, message);
}

void Container::kill_all() {
  // The first process's end is the end of its pid namespace, and so of all.
  if (!cgroup().kill()) signal(SIGKILL);
}

void Container::stop(int number, Duration timeout) {
  is_wanted_down_ = true;
  save_run();
  if (state_ == State::restarting) {
    restart_timer_->stop();
    set_state(State::stopped);
    return;
  }
  if (!is_alive()) return;
  if (state_ == State::starting || timeout <= Duration::zero()) {
    kill_all();
    if (state_ == State::starting) signal(SIGKILL);
    return;
  }
  signal(number);
  if (state_ == State::paused) {
    [[maybe_unused]] Status thawed = cgroup().freeze(false);
    set_state(State::running);
  }
  if (!kill_timer_->active()) kill_timer_->start(timeout);
}

std::optional<CallError> Container::set_paused(bool paused) {
  if (!is_running()) return failed(spec_.name + " doesn't run");
  if (paused == (state_ == State::paused)) {
    return failed(fmt::format("{} is {}", spec_.name, paused ? "paused already" : "not paused"));
  }
  Status status = cgroup().freeze(paused);
  if (status.code() == StatusCode::not_found) {
    return failed("a pause needs cgroup2 at " + world_.cgroup_root);
  }
  if (!status) return CallError::of(status);
  if (paused) {
    poll_freezer();
  } else {
    freeze_timer_->stop();
    set_state(State::running);
  }
  return std::nullopt;
}

void Container::poll_freezer() {
  if (state_ != State::running) return;
  if (cgroup().is_frozen()) {
    set_state(State::paused);
  } else {
    freeze_timer_->start(kFreezePoll);
  }
}

std::optional<CallError> Container::update(const ContainerLimits& limits,
                                           std::optional<RestartPolicy> restart) {
  if (is_running()) {
    if (Status status = cgroup().set(limits); !status) return CallError::of(status);
  }
  ContainerLimits& own = spec_.limits;
  auto take = [](std::uint64_t& into, std::uint64_t value) {
    if (value > 0) into = value;
  };
  take(own.memory, limits.memory);
  take(own.memory_swap, limits.memory_swap);
  take(own.cpu_millis, limits.cpu_millis);
  take(own.cpu_weight, limits.cpu_weight);
  take(own.pids, limits.pids);
  take(own.io_weight, limits.io_weight);
  if (!limits.cpus.empty()) own.cpus = limits.cpus;
  if (restart) spec_.restart = *restart;
  if (Status status = save(); !status) return CallError::of(status);
  return std::nullopt;
}

void Container::remove() {
  restart_timer_->stop();
  if (!spec_.layers.empty()) unmount_layers(rootfs());
  remove_tree(data_directory());
  remove_tree(state_directory());
  set_state(State::removed);
}

}  // namespace sluice::agent
