#include "agent/agent.h"

#include <dirent.h>
#include <fmt/format.h>
#include <sys/reboot.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

#include "agent/init/modules.h"
#include "agent/init/mounts.h"
#include "agent/init/resolver_file.h"
#include "agent/init/system_files.h"
#include "agent/os/file.h"
#include "base/log.h"

namespace sluice::agent {

namespace {

constexpr const char* kResolverFile = "/etc/resolv.conf";
constexpr const char* kPorts = "/sys/class/virtio-ports";
constexpr Duration kPortLook = std::chrono::milliseconds(5);
constexpr Duration kSlowPortLook = std::chrono::milliseconds(100);
/// A port that is not there by then comes late, if at all.
constexpr Duration kPortPatience = std::chrono::seconds(10);

/// The device of the virtio-serial port of that name, if it is there.
std::string port_device(const std::string& name) {
  std::unique_ptr<DIR, int (*)(DIR*)> ports(::opendir(kPorts), ::closedir);
  while (dirent* entry = ports ? ::readdir(ports.get()) : nullptr) {
    if (entry->d_name[0] == '.') continue;
    if (read_line(fmt::format("{}/{}/name", kPorts, entry->d_name)) == name) {
      return fmt::format("/dev/{}", entry->d_name);
    }
  }
  return "";
}

}  // namespace

Agent::Agent(Role role, Options options, BootReport& boot)
    : role_(role), options_(std::move(options)), boot_(boot) {}

Agent::~Agent() = default;

Result<std::unique_ptr<Agent>> Agent::create(Role role, Options options, BootReport& boot) {
  std::unique_ptr<Agent> agent(new Agent(role, std::move(options), boot));
  auto loop = UvLoop::create();
  if (!loop) return loop.status();
  agent->loop_ = std::move(*loop);
  auto children = Children::create(*agent->loop_);
  if (!children) return children.status();
  agent->children_ = std::move(*children);

  std::function<void(const ShutdownOrder&)> shutdown;
  if (role == Role::init) {
    agent->shutdown_ = std::make_unique<Shutdown>(*agent->loop_);
    shutdown = [raw = agent.get()](const ShutdownOrder& order) { raw->shut_down(order); };
  }
  agent->agent_service_ = std::make_unique<AgentService>(boot, std::move(shutdown));
  agent->process_service_ = std::make_unique<ProcessService>(*agent->loop_, *agent->children_);
  agent->agent_service_->add_to(agent->methods_);
  agent->process_service_->add_to(agent->methods_);
  agent->containers_ = std::make_unique<Containers>(*agent->loop_, *agent->children_,
                                                    agent->options_.containers, nullptr);
  agent->container_service_ = std::make_unique<ContainerService>(*agent->loop_, *agent->containers_,
                                                                 *agent->process_service_);
  agent->container_service_->add_to(agent->methods_);
  agent->server_ = std::make_unique<rpc::Server>(*agent->loop_, agent->methods_);
  agent->watch_signals();
  return agent;
}

void Agent::shut_down(const ShutdownOrder& order) {
  containers_->shut_down();
  shutdown_->begin(order);
}

Status Agent::serve() {
  if (role_ == Role::service) containers_->recover();
  Status first;
  auto open = [&](const std::string& what, const Status& status) {
    auto step = boot_.begin("serve " + what);
    if (status) {
      boot_.done(step);
      return;
    }
    boot_.failed(step, 0, status.message());
    if (first) first = status;
  };
  for (const std::string& path : options_.unix_sockets) {
    open(path, server_->listen_unix(path));
  }
  if (options_.stdio) {
    // What the programs print is not to get between.
    server_->serve(std::make_unique<rpc::FdLink>(*loop_, UniqueFd(::fcntl(0, F_DUPFD_CLOEXEC, 3)),
                                                 UniqueFd(::fcntl(1, F_DUPFD_CLOEXEC, 3))),
                   [this] {
                     // Nobody could reach it any more.
                     bool others = !options_.unix_sockets.empty() || options_.vsock_port ||
                                   !options_.serial.empty();
                     if (role_ == Role::service && !others) stop();
                   });
  }
  if (options_.vsock_port && role_ == Role::service) {
    open("vsock", server_->listen_vsock(*options_.vsock_port));
  }
  if (!options_.serial.empty()) {
    port_step_ = boot_.begin(fmt::format("serve virtio-serial {}", options_.serial));
    look_for_port_ = loop_->make_timer([this] { find_serial_port(); });
    find_serial_port();
  }
  return first;
}

void Agent::find_serial_port() {
  std::string device = port_device(options_.serial);
  if (device.empty()) {
    bool patient = boot_.age() < kPortPatience;
    if (!patient && !port_is_late_) {
      port_is_late_ = true;
      boot_.skipped(port_step_, "there is no such port; it is served when it comes");
    }
    look_for_port_->start(patient ? kPortLook : kSlowPortLook);
    return;
  }
  Status status = server_->serve_serial(device);
  if (status) {
    boot_.done(port_step_, device);
  } else {
    boot_.failed(port_step_, 0, status.message());
  }
}

void Agent::bring_up() {
  for (const Options::Problem& problem : options_.problems) {
    boot_.note("kernel command line", BootReport::Result::failed, problem.text);
  }
  load_modules(boot_, options_.modules);
  if (options_.vsock_port) {
    auto step = boot_.begin(fmt::format("serve vsock port {}", *options_.vsock_port));
    Status status = server_->listen_vsock(*options_.vsock_port);
    if (status) {
      boot_.done(step);
    } else {
      boot_.skipped(step, status.message());
    }
  }
  // Before the rest, as it has to wait for others.
  bring_up_network();
  mount_the_rest(boot_);
  write_system_files(boot_, options_.hostname);
  // What an earlier boot left on a disk belongs to nobody.
  containers_->recover();
  if (!boot_.has_failed()) return;
  log(LogLevel::error, "agent: the boot has failed in a mandatory step");
  if (options_.halt_on_failure) shut_down({.grace = Duration::zero()});
}

void Agent::bring_up_network() {
  if (!options_.network) return;
  network_step_ = boot_.begin("network");
  auto network = GuestNetwork::create(
      *loop_, {}, [this](const NetworkState& state) { on_network_change(state); });
  Status status = network ? (*network)->configure(*options_.network) : network.status();
  if (!status) {
    boot_.failed(*network_step_, 0, status.message());
    network_step_.reset();
    return;
  }
  network_ = std::move(*network);
}

void Agent::on_network_change(const NetworkState& network) {
  std::string resolvers = resolver_text(network);
  if (!resolvers.empty() && resolvers != read_file(kResolverFile)) {
    if (Status status = replace_file(kResolverFile, resolvers); !status) {
      log(LogLevel::error, "agent: {}", status.message());
    }
  }
  if (!network_step_ || !network.is_ready()) return;
  std::string addresses;
  for (const AddressOnLink& one : network.addresses) {
    addresses += fmt::format(" {}/{}", one.address.to_string(), one.prefix_length);
  }
  boot_.done(*network_step_, network.interface + addresses);
  network_step_.reset();
}

void Agent::run() {
  loop_->run();
}

void Agent::watch_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (int signal : {SIGTERM, SIGINT, SIGPWR}) sigaddset(&set, signal);
  ::sigprocmask(SIG_BLOCK, &set, nullptr);
  signals_.reset(::signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC));
  signal_watch_ = loop_->watch(signals_.get(), {.readable = true}, [this](FdReady) {
    signalfd_siginfo info{};
    while (::read(signals_.get(), &info, sizeof info) == sizeof info) {
      on_signal(static_cast<int>(info.ssi_signo));
    }
  });
  // Ctrl-Alt-Del then is a SIGINT for PID 1.
  if (role_ == Role::init) ::reboot(RB_DISABLE_CAD);
}

void Agent::on_signal(int signal) {
  if (role_ == Role::init) {
    shut_down({.reboot = signal == SIGINT});
  } else {
    stop();
  }
}

void Agent::stop() {
  process_service_->signal_all(SIGTERM);
  loop_->stop();
}

}  // namespace sluice::agent
