#include "hostd/run.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <net/network.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/log.h"
#include "base/unique_fd.h"
#include "hostd/api/control.h"
#include "hostd/api/event_file.h"
#include "hostd/api/event_query.h"
#include "hostd/api/json.h"
#include "hostd/attach/attach.h"
#include "hostd/directories.h"
#include "hostd/guest/channel.h"
#include "hostd/logging.h"
#include "hostd/privileges.h"
#include "hostd/reload.h"

namespace sluice::hostd {

namespace {

using nlohmann::json;

constexpr int kExitOk = 0, kExitFailed = 1, kExitUsage = 2, kExitClosed = 3;

int fail(const Status& status) {
  log_line(LogLevel::error, status.message());
  return status.code() == StatusCode::invalid_argument ? kExitUsage : kExitFailed;
}

/// Settings of libnet are flags here; what a file says is named with its line already.
Status as_flag(const Status& status, const Options& options) {
  bool names_its_place =
      status.message().starts_with("--") ||
      (!options.config_path.empty() && status.message().starts_with(options.config_path));
  bool is_setting = status.code() == StatusCode::invalid_argument && !names_its_place;
  return is_setting ? Status(status.code(), "--" + status.message()) : status;
}

/// Removes the socket that the guest's NIC connects to, however run() ends.
class SocketFile {
 public:
  explicit SocketFile(std::string path) : path_(std::move(path)) {}
  SocketFile(const SocketFile&) = delete;
  SocketFile& operator=(const SocketFile&) = delete;
  ~SocketFile() {
    if (!path_.empty()) ::unlink(path_.c_str());
  }

 private:
  std::string path_;
};

/// A flow is a descriptor, and 1024 of them are soon gone.
void allow_many_descriptors() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

/// A directory made; empty where it can't be.
std::string make_directory(const std::string& path, std::string_view consequence) {
  std::error_code error;
  if (!path.empty()) std::filesystem::create_directories(path, error);
  if (!error) return path;
  log(LogLevel::warn, "{}: {}; {}", path, error.message(), consequence);
  return {};
}

void tell_ready(int fd, const std::string& name, const std::string& socket,
                const std::vector<PublishedPort>& ports) {
  json line{{"name", name}, {"socket", nullptr}, {"ports", to_json(ports)}};
  if (!socket.empty()) line["socket"] = socket;
  std::string text = line.dump() + "\n";
  for (std::string_view rest = text; !rest.empty();) {
    ssize_t n = ::write(fd, rest.data(), rest.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      log(LogLevel::warn, "--ready-fd {}: {}", fd, std::strerror(errno));
      break;
    }
    rest.remove_prefix(static_cast<std::size_t>(n));
  }
  ::close(fd);
}

/// The control socket; none where `--api none` or no place for it says so.
Result<std::unique_ptr<Control>> open_control(const Options& options) {
  std::string path = options.api_path.empty() ? api_socket_path(options.name) : options.api_path;
  if (path == "none") return std::unique_ptr<Control>();
  if (path.empty()) {
    log(LogLevel::notice, "no control socket: XDG_RUNTIME_DIR is not set; --api PATH makes one");
    return std::unique_ptr<Control>();
  }
  return Control::listen(path);
}

/// The guest's agent, and the socket beside the control socket where clients find it; none where
/// nobody asked for it.
Result<std::unique_ptr<AgentChannel>> open_agent(const Options& options,
                                                 const std::string& api_path) {
  if (!options.agent) return std::unique_ptr<AgentChannel>();
  if (api_path.empty()) {
    return Status(StatusCode::invalid_argument,
                  "--agent: it is served beside the control socket, and there is none");
  }
  agent::client::AgentEndpoint endpoint = *options.agent;
  if (endpoint.is_tcp()) {
    if (options.agent_token_file.empty()) {
      return Status(StatusCode::invalid_argument,
                    "--agent " + endpoint.to_string() + " needs --agent-token-file");
    }
    auto token = agent::rpc::BootToken::read(options.agent_token_file);
    if (!token) {
      return Status(token.status().code(), "--agent-token-file: " + token.status().message());
    }
    endpoint.token = std::move(*token);
  }
  return AgentChannel::listen(std::move(endpoint), agent_socket_path(api_path),
                              options.network.routed_prefixes, options.keeps_agent_clock);
}

void reload_config(Reload& reload) {
  auto report = reload.run();
  if (report) {
    log(LogLevel::notice, "reload: {}", report->to_string());
  } else {
    log(LogLevel::error, "reload: {}; nothing is changed", report.status().message());
  }
}

/// SIGTERM and SIGINT end, SIGUSR1 prints the status, SIGHUP reopens the event file and reloads the
/// config file where there are such, and ends where there is neither;
/// `ended` becomes readable when the guest goes, `closed` when policy closes it. The exit status.
int wait_for_end(int signals, int ended, int closed, Network& network, Reload* reload,
                 EventFile* event_file) {
  while (true) {
    pollfd fds[] = {{signals, POLLIN, 0}, {ended, POLLIN, 0}, {closed, POLLIN, 0}};
    if (::poll(fds, 3, -1) < 0 && errno != EINTR) return kExitFailed;
    if (fds[2].revents != 0) {
      log_line(LogLevel::error, "the guest is closed by policy: ending");
      return kExitClosed;
    }
    if (fds[1].revents != 0) {
      log_line(LogLevel::info, "the guest's end is gone: ending");
      return kExitOk;
    }
    if (fds[0].revents == 0) continue;
    signalfd_siginfo info{};
    if (::read(signals, &info, sizeof info) != sizeof info) continue;
    if (info.ssi_signo == SIGUSR1) {
      log_line(LogLevel::notice, "status " + to_json(network.counters()).dump());
      continue;
    }
    if (info.ssi_signo == SIGHUP && (reload || event_file)) {
      if (event_file) event_file->reopen();
      if (reload) reload_config(*reload);
      continue;
    }
    log(LogLevel::info, "signal {}: ending", ::strsignal(static_cast<int>(info.ssi_signo)));
    return kExitOk;
  }
}

}  // namespace

int run(Options options, Configuration configuration) {
  set_up_logging(options.verbosity);
  // Before any thread exists, so that all of them inherit it.
  sigset_t set;
  sigemptyset(&set);
  for (int signal : {SIGTERM, SIGINT, SIGHUP, SIGUSR1}) sigaddset(&set, signal);
  ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  UniqueFd signals(::signalfd(-1, &set, SFD_CLOEXEC));
  UniqueFd ended(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  UniqueFd closed(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!signals || !ended || !closed)
    return fail(Status::from_errno(errno, "make signalfd and eventfd"));

  if (options.ready_fd >= 0 && ::fcntl(options.ready_fd, F_GETFD) < 0) {
    return fail(Status(StatusCode::invalid_argument,
                       fmt::format("--ready-fd {}: no such open descriptor", options.ready_fd)));
  }
  bool ends_with_guest = options.one_off || std::holds_alternative<PassedFd>(*options.attachment);
  auto on_gone = [fd = ended.get(), ends_with_guest] {
    std::uint64_t one = 1;
    if (ends_with_guest) static_cast<void>(!::write(fd, &one, sizeof one));
  };
  auto attachment = prepare_attachment(*options.attachment, options.network.mtu, on_gone);
  if (!attachment) return fail(attachment.status());
  SocketFile socket_file(attachment->socket_path);
  // Passed datagrams are told from a stream only now; see parse_command_line() for --vfkit.
  if (attachment->is_datagrams && !options.mtu_given) options.network.mtu = 1500;
  allow_many_descriptors();

  std::string state =
      make_directory(state_directory(options.name), "leases will not survive a restart");
  if (!state.empty()) options.network.lease_file = state + "/leases";
  auto control = open_control(options);
  if (!control) return fail(control.status());
  std::string api_path, api_directory;
  if (*control) api_path = (*control)->path(), api_directory = (*control)->made_directory();
  auto agent = open_agent(options, api_path);
  if (!agent) return fail(agent.status());
  EventLog events;
  std::unique_ptr<EventFile> event_file;
  if (!options.event_file.empty()) {
    auto file = EventFile::open({.path = options.event_file,
                                 .max_bytes = options.event_file_bytes,
                                 .keep = options.event_file_keep});
    if (!file) return fail(file.status());
    event_file = std::move(*file);
  }
  auto container_of = [agent = agent->get()](const Event& event) -> std::string {
    if (!agent) return "";
    std::string source = agent->containers().name_of(event.source.address);
    return source.empty() ? agent->containers().name_of(event.destination.address) : source;
  };
  auto record = [&events, file = event_file.get(), name = options.name,
                 container_of](const Event& event) {
    std::string text = to_json(event, name, container_of(event))
                           .dump(-1, ' ', false, json::error_handler_t::replace);
    if (file) file->append(text);
    events.append(std::move(text), facts_of(event));
  };
  options.network.on_denied = [record, container_of](const DenialEvent& event) {
    std::string container = container_of(event);
    log_line(LogLevel::warn,
             event.to_string() + (container.empty() ? "" : " (container " + container + ")"));
    record(event);
  };
  if (options.events == EventDetail::all) options.network.on_flow = record;
  if (options.on_violation == OnViolation::close_guest) {
    options.network.on_violation = [fd = closed.get()](const DenialEvent& event) {
      log_line(LogLevel::error, "closed by policy: " + event.to_string());
      std::uint64_t one = 1;
      static_cast<void>(!::write(fd, &one, sizeof one));
    };
  }
  auto network = Network::create(options.network);
  if (!network) return fail(as_flag(network.status(), options));
  std::vector<std::string> owned{state, attachment->socket_path, api_path, api_directory};
  if (*agent) owned.push_back((*agent)->path());
  if (event_file && event_file->is_regular()) {
    owned.insert(owned.end(), {event_file->made_directory(), event_file->path()});
  }
  if (Status status = drop_privileges(options.run_as, owned); !status) return fail(status);
  if (event_file) {
    if (Status status = event_file->check_rotation(); !status) return fail(status);
  }
  if (Status status = (*network)->attach(std::move(attachment->make_port)); !status) {
    return fail(status);
  }

  // It calls the network and is told by it: its thread ends first, itself last.
  auto stop = [](AgentChannel* channel) { channel->stop(); };
  std::unique_ptr<AgentChannel, decltype(stop)> running_agent(agent->get(), stop);
  if (*agent) {
    (*agent)->serve([net = network->get()](const auto& address, Port port) -> Result<UniqueFd> {
      auto fd = net->connect_to_guest(address, port);
      if (!fd) return fd.status();
      return UniqueFd(*fd);
    });
  }
  if (*control) {
    if (Status status =
            (*control)->serve(options.name, **network, events, event_file.get(), agent->get());
        !status) {
      return fail(status);
    }
  }

  auto ports = (*network)->published();
  for (const PublishedPort& port : ports) {
    log(LogLevel::notice, "published {}", to_json(port).dump());
  }
  log(LogLevel::notice, "ready: {}; policy: {}", options.name, (*network)->policy().summary);
  if (options.ready_fd >= 0) tell_ready(options.ready_fd, options.name, api_path, ports);

  std::unique_ptr<Reload> reload;
  if (!configuration.path().empty()) {
    reload = std::make_unique<Reload>(std::move(configuration), options, **network);
  }
  int status = wait_for_end(signals.get(), ended.get(), closed.get(), **network, reload.get(),
                            event_file.get());
  control->reset();
  running_agent.reset();
  network->reset();
  return status;
}

}  // namespace sluice::hostd
