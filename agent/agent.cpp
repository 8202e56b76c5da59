#include "agent/agent.h"

#include <dirent.h>
#include <fmt/format.h>
#include <sys/reboot.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>

#include "agent/init/modules.h"
#include "agent/init/mounts.h"
#include "agent/init/resolver_file.h"
#include "agent/init/system_files.h"
#include "agent/net/default_routers.h"
#include "agent/os/file.h"
#include "agent/rpc/message.h"
#include "base/log.h"
#include "wire/dns.h"

namespace sluice::agent {

namespace {

constexpr const char* kResolverFile = "/etc/resolv.conf";
constexpr const char* kPorts = "/sys/class/virtio-ports";
constexpr Duration kPortLook = std::chrono::milliseconds(5);
constexpr Duration kSlowPortLook = std::chrono::milliseconds(100);
/// A port that is not there by then comes late, if at all.
constexpr Duration kPortPatience = std::chrono::seconds(10);

std::vector<Endpoint> usual_dns_addresses() {
  return {{IpAddress::loopback(Family::v4), wire::kDnsPort},
          {IpAddress::loopback(Family::v6), wire::kDnsPort}};
}

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

void tell(EventBus& events, const NetworkState& network) {
  if (!events.has_listeners()) return;
  std::vector<std::string> texts[3];
  for (const AddressOnLink& one : network.addresses) {
    texts[0].push_back(fmt::format("{}/{}", one.address.to_string(), one.prefix_length));
  }
  for (const auto& one : {network.gateway4, network.gateway6}) {
    if (one) texts[1].push_back(one->to_string());
  }
  for (const IpAddress& one : network.dns_servers) texts[2].push_back(one.to_string());
  std::vector<char*> fields[3];
  for (std::size_t i = 0; i < 3; ++i) {
    for (const std::string& text : texts[i]) fields[i].push_back(rpc::field(text));
  }
  std::string stage(to_string(network.stage));
  std::string interface = rpc::valid_utf8(network.interface);
  std::string problem = rpc::valid_utf8(network.problem);
  sluice_agent_v1_EventsResponse event{};
  event.which_event = sluice_agent_v1_EventsResponse_network_tag;
  event.event.network = {.stage = rpc::field(stage),
                         .interface = rpc::field(interface),
                         .addresses_count = static_cast<pb_size_t>(fields[0].size()),
                         .addresses = fields[0].data(),
                         .gateways_count = static_cast<pb_size_t>(fields[1].size()),
                         .gateways = fields[1].data(),
                         .dns_count = static_cast<pb_size_t>(fields[2].size()),
                         .dns = fields[2].data(),
                         .mtu = network.mtu,
                         .problem = rpc::field(problem)};
  events.publish(event);
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
  agent->add_network_services();
  agent->tell_events();
  agent->add_container_services();
  agent->add_supervisor();
  agent->server_ = std::make_unique<rpc::Server>(*agent->loop_, agent->methods_);
  agent->watch_signals();
  return agent;
}

void Agent::add_network_services() {
  host_net_ = std::make_unique<PosixNet>(loop_->poller());
  if (options_.dns.on.value_or(role_ == Role::init && options_.network)) {
    DomainName suffix =
        options_.dns.suffix.is_root() ? *DomainName::parse("guest.internal") : options_.dns.suffix;
    dns_ =
        std::make_unique<GuestDns>(*loop_, *host_net_, suffix, [this] { write_resolver_file(); });
    use_upstreams();
  }
  network_service_ =
      std::make_unique<NetworkService>(*loop_, *host_net_, dns_.get(), port_namespaces_);
  network_service_->add_to(methods_);

  ConfigureService::Hooks hooks;
  if (dns_) hooks.dns = [this](const auto& order) { return configure_dns(order); };
  if (role_ == Role::init) {
    hooks.network = [this](const NetworkConfig& config) { return configure_network(config); };
  }
  configure_service_ = std::make_unique<ConfigureService>(std::move(hooks));
  configure_service_->add_to(methods_);

  metrics_.add_source(system_metrics);
  metrics_.add_source([this](std::vector<Metric>& metrics) { call_metrics(methods_, metrics); });
  metrics_.add_source([this](std::vector<Metric>& metrics) {
    metrics.push_back({.name = "sluice_agent_programs",
                       .value = static_cast<double>(process_service_->running())});
    metrics.push_back(
        {.name = "sluice_agent_connections", .value = static_cast<double>(server_->connections())});
    if (server_->gate()) gate_metrics(*server_->gate(), metrics);
    if (dns_) dns_metrics(*dns_, metrics);
  });
  metrics_.add_to(methods_);
}

void Agent::tell_events() {
  events_ = std::make_unique<EventBus>(*loop_);
  events_->add_to(methods_);
  boot_.add_listener([this](const BootReport::Step& step) {
    sluice_agent_v1_EventsResponse event{};
    event.which_event = sluice_agent_v1_EventsResponse_boot_step_tag;
    event.event.boot_step = boot_step_message(step);
    events_->publish(event);
  });
  process_service_->set_exit_listener([this](const ProcessTable::Process& process) {
    sluice_agent_v1_EventsResponse event{};
    event.which_event = sluice_agent_v1_EventsResponse_process_tag;
    event.event.process = {.id = rpc::field(process.id),
                           .pid = process.pid,
                           .code = process.exit->code,
                           .signal = process.exit->signal};
    events_->publish(event);
  });
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
  if (role_ == Role::service) start_dns();
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
                                   options_.tcp.listen || options_.legacy_port ||
                                   !options_.legacy_unix.empty() || !options_.serial.empty();
                     if (role_ == Role::service && !others) stop();
                   });
  }
  if (options_.vsock_port && role_ == Role::service) {
    open("vsock", server_->listen_vsock({*options_.vsock_port, options_.vsock_from}));
  }
  if (options_.tcp.listen && role_ == Role::service) {
    open(fmt::format("TCP {}", options_.tcp.listen->to_string()), serve_tcp());
  }
  if ((options_.legacy_port || !options_.legacy_unix.empty()) && role_ == Role::service) {
    open("the older framing", serve_legacy());
  }
  if (!options_.serial.empty()) {
    port_step_ = boot_.begin(fmt::format("serve virtio-serial {}", options_.serial));
    look_for_port_ = loop_->make_timer([this] { find_serial_port(); });
    find_serial_port();
  }
  return first;
}

Status Agent::serve_tcp() {
  Result<rpc::BootToken> token =
      options_.tcp.token ? *options_.tcp.token : rpc::BootToken::read(options_.tcp.token_file);
  if (!token) return token.status();
  return server_->listen_tcp(
      *options_.tcp.listen, std::move(*token),
      [this, routers = std::make_shared<DefaultRouters>(*loop_)](const IpAddress& peer) {
        auto has_it = [&peer](const IpPrefix& one) { return one.contains(peer); };
        if (!options_.tcp.from.empty()) return std::ranges::any_of(options_.tcp.from, has_it);
        return routers->contains(peer);
      });
}

Status Agent::serve_legacy() {
  legacy_server_ = std::make_unique<legacy::Server>(*loop_, methods_);
  Status first;
  if (options_.legacy_port)
    first = legacy_server_->listen_vsock({*options_.legacy_port, options_.vsock_from});
  if (!options_.legacy_unix.empty()) {
    Status status = legacy_server_->listen_unix(options_.legacy_unix);
    if (first) first = status;
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
    Status status = server_->listen_vsock({*options_.vsock_port, options_.vsock_from});
    if (status) {
      boot_.done(step);
    } else {
      boot_.skipped(step, status.message());
    }
  }
  auto serve = [this](const std::string& what, Status (Agent::*open)()) {
    auto step = boot_.begin("serve " + what);
    Status status = (this->*open)();
    if (status) return boot_.done(step);
    boot_.failed(step, 0, status.message());
  };
  if (options_.tcp.listen) serve("TCP " + options_.tcp.listen->to_string(), &Agent::serve_tcp);
  if (options_.legacy_port || !options_.legacy_unix.empty()) {
    serve("the older framing", &Agent::serve_legacy);
  }
  // Before the rest, as it has to wait for others.
  bring_up_network();
  mount_the_rest(boot_);
  write_system_files(boot_, options_.hostname);
  start_dns();
  bring_up_disks();
}

void Agent::bring_up_beside() {
  for (const Options::Problem& problem : options_.problems) {
    boot_.note("kernel command line", BootReport::Result::failed, problem.text);
  }
  bring_up_network();
}

void Agent::bring_up_network() {
  if (!options_.network) return;
  network_step_ = boot_.begin("network");
  Status status = configure_network(*options_.network);
  if (status) return;
  boot_.failed(*network_step_, 0, status.message());
  network_step_.reset();
}

Status Agent::configure_network(const NetworkConfig& config) {
  if (!network_) {
    auto network = GuestNetwork::create(
        *loop_, {}, [this](const NetworkState& state) { on_network_change(state); });
    if (!network) return network.status();
    network_ = std::move(*network);
  }
  return network_->configure(config);
}

void Agent::on_network_change(const NetworkState& network) {
  tell(*events_, network);
  use_upstreams();
  write_resolver_file();
  if (!network_step_ || !network.is_ready()) return;
  std::string addresses;
  for (const AddressOnLink& one : network.addresses) {
    addresses += fmt::format(" {}/{}", one.address.to_string(), one.prefix_length);
  }
  boot_.done(*network_step_, network.interface + addresses);
  network_step_.reset();
}

void Agent::start_dns() {
  if (!dns_) return;
  resolver_file_is_ours_ = role_ == Role::init;
  auto step = boot_.begin("guest DNS");
  dns_->listen(options_.dns.listen.empty() ? usual_dns_addresses() : options_.dns.listen);
  std::string served;
  std::string problem;
  for (const auto& listener : dns_->listeners()) {
    if (listener->serving()) served += " " + listener->at().to_string();
    if (!listener->serving()) problem = listener->problem();
  }
  if (!served.empty()) {
    boot_.done(step, "on" + served);
  } else {
    boot_.skipped(step, fmt::format("not yet, it is tried again: {}", problem));
  }
}

Result<ConfigureService::DnsState> Agent::configure_dns(const ConfigureService::DnsOrder& order) {
  if (!order.suffix.is_root()) {
    if (Status status = dns_->registry().set_suffix(order.suffix); !status) return status;
  }
  dns_order_ = order;
  use_upstreams();
  write_resolver_file();
  return ConfigureService::DnsState{dns_->registry().suffix(), dns_->forwarder().servers()};
}

void Agent::use_upstreams() {
  if (!dns_) return;
  std::vector<Endpoint> servers = dns_order_.upstreams;
  std::vector<IpAddress> learnt;
  if (servers.empty() && network_) learnt = network_->state().dns_servers;
  // An agent that somebody started has no network of its own, only what it was told.
  if (servers.empty() && !network_ && options_.network) learnt = options_.network->dns_servers;
  for (const IpAddress& one : learnt) servers.push_back({one, wire::kDnsPort});
  // Whoever is on a link is on that of the network, from which such resolvers are learnt.
  host_net_->set_link(network_ ? network_->state().link : 0);
  dns_->forwarder().set_servers(std::move(servers));
}

void Agent::write_resolver_file() {
  if (!network_ && !resolver_file_is_ours_) return;
  NetworkState network;
  if (network_) network = network_->state();
  if (!dns_order_.search.empty()) network.search = dns_order_.search;
  std::optional<IpAddress> own;
  if (dns_ && resolver_file_is_ours_) {
    for (const auto& listener : dns_->listeners()) {
      bool fits = listener->network().empty() && listener->serving() &&
                  listener->at().port == wire::kDnsPort;
      if (fits && !own) own = listener->at().address;
    }
  }
  // Names of containers first, as they are meant by who has any.
  if (own) network.search.insert(network.search.begin(), dns_->registry().suffix());
  std::string resolvers = resolver_text(network, own);
  if (resolvers.empty() || resolvers == read_file(kResolverFile)) return;
  if (Status status = replace_file(kResolverFile, resolvers); !status) {
    log(LogLevel::error, "agent: {}", status.message());
  }
}

void Agent::run() {
  if (role_ == Role::service) image_service_->sweep();
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
