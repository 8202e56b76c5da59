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
#include "hostd/attach/attach.h"
#include "hostd/logging.h"
#include "hostd/privileges.h"

namespace sluice::hostd {

namespace {

using nlohmann::json;

constexpr int kExitOk = 0, kExitFailed = 1, kExitUsage = 2;

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

/// Where leases outlive this process; empty where no directory can be had.
std::string state_directory(const std::string& name) {
  std::string base;
  if (::geteuid() == 0) {
    base = "/var/lib/sluice";
  } else if (const char* xdg = std::getenv("XDG_STATE_HOME"); xdg && *xdg == '/') {
    base = std::string(xdg) + "/sluice";
  } else if (const char* home = std::getenv("HOME"); home && *home == '/') {
    base = std::string(home) + "/.local/state/sluice";
  } else {
    return {};
  }
  std::string path = base + "/" + name;
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) {
    log(LogLevel::warn, "{}: {}; leases will not survive a restart", path, error.message());
    return {};
  }
  return path;
}

json describe(const PublishedPort& port) {
  json out{{"proto", std::string(to_string(port.spec.protocol))},
           {"guest_port", port.guest_port.value()}};
  if (port.host) {
    out["host"] = port.host->address.to_string();
    out["host_port"] = port.host->port.value();
  } else {
    out["unix"] = port.spec.unix_path;
  }
  return out;
}

void tell_ready(int fd, const std::string& name, const std::vector<PublishedPort>& ports) {
  json line{{"name", name}, {"socket", nullptr}, {"ports", json::array()}};
  for (const PublishedPort& port : ports) line["ports"].push_back(describe(port));
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

void print_status(Network& network) {
  NetworkCounters counters = network.counters();
  json drops = json::object();
  for (const auto& [cause, count] : counters.drops) drops[cause] = count;
  json out{
      {"flows",
       {{"tcp", counters.tcp_flows}, {"udp", counters.udp_flows}, {"icmp", counters.icmp_flows}}},
      {"held_syns", counters.held_syns},
      {"tcp_opened", counters.tcp_opened},
      {"tcp_retransmits", counters.tcp_retransmissions},
      {"memory_bytes", counters.memory_bytes},
      {"tx_frames", counters.tx_frames},
      {"tx_bytes", counters.tx_bytes},
      {"rx_frames", counters.rx_frames},
      {"rx_bytes", counters.rx_bytes},
      {"denials", counters.denials},
      {"dns_queries", counters.dns_queries},
      {"drops", drops}};
  log_line(LogLevel::notice, "status " + out.dump());
}

/// SIGTERM and SIGINT end, SIGUSR1 prints the status; `ended` becomes readable when the guest goes.
void wait_for_end(int signals, int ended, Network& network) {
  while (true) {
    pollfd fds[] = {{signals, POLLIN, 0}, {ended, POLLIN, 0}};
    if (::poll(fds, 2, -1) < 0 && errno != EINTR) return;
    if (fds[1].revents != 0) {
      log_line(LogLevel::info, "the guest's end is gone: ending");
      return;
    }
    if (fds[0].revents == 0) continue;
    signalfd_siginfo info{};
    if (::read(signals, &info, sizeof info) != sizeof info) continue;
    if (info.ssi_signo == SIGUSR1) {
      print_status(network);
      continue;
    }
    log(LogLevel::info, "signal {}: ending", ::strsignal(static_cast<int>(info.ssi_signo)));
    return;
  }
}

}  // namespace

int run(Options options) {
  set_up_logging(options.verbosity);
  // Before any thread exists, so that all of them inherit it.
  sigset_t set;
  sigemptyset(&set);
  for (int signal : {SIGTERM, SIGINT, SIGUSR1}) sigaddset(&set, signal);
  ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  UniqueFd signals(::signalfd(-1, &set, SFD_CLOEXEC));
  UniqueFd ended(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!signals || !ended) return fail(Status::from_errno(errno, "make signalfd and eventfd"));

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

  std::string state = state_directory(options.name);
  if (!state.empty()) options.network.lease_file = state + "/leases";
  options.network.on_denied = [](const DenialEvent& event) {
    log_line(LogLevel::warn, event.to_string());
  };
  auto network = Network::create(options.network);
  if (!network) return fail(as_flag(network.status(), options));
  if (Status status = drop_privileges(options.run_as, {state, attachment->socket_path}); !status) {
    return fail(status);
  }
  if (Status status = (*network)->attach(std::move(attachment->make_port)); !status) {
    return fail(status);
  }

  auto ports = (*network)->published();
  for (const PublishedPort& port : ports) {
    log(LogLevel::notice, "published {}", describe(port).dump());
  }
  log(LogLevel::notice, "ready: {}; policy: {}", options.name, (*network)->policy().summary);
  if (options.ready_fd >= 0) tell_ready(options.ready_fd, options.name, ports);

  wait_for_end(signals.get(), ended.get(), **network);
  network->reset();
  return kExitOk;
}

}  // namespace sluice::hostd
