#include "agent/services/metrics.h"

#include <dirent.h>
#include <fmt/format.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include <algorithm>
#include <memory>

#include "agent/os/file.h"
#include "agent/os/text.h"
#include "agent/rpc/message.h"
#include "agent/services/network_service.h"
#include "base/number.h"
#include "sluice/agent/v1/agent.pb.h"

namespace sluice::agent {

namespace {

/// As many as a message has room for, with names of some 100 bytes.
constexpr std::size_t kMaxMetrics = 4096;

double open_descriptors() {
  std::unique_ptr<DIR, int (*)(DIR*)> fds(::opendir("/proc/self/fd"), ::closedir);
  double count = 0;
  while (dirent* entry = fds ? ::readdir(fds.get()) : nullptr) {
    if (entry->d_name[0] != '.') ++count;
  }
  // The one that reads the directory is there only for that.
  return count > 0 ? count - 1 : 0;
}

/// The first number in `text`, which blanks stand before.
double leading_number(std::string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of(" \t"), text.size()));
  auto number = parse_number<std::uint64_t>(text.substr(0, text.find_first_of(" \t\n")));
  return static_cast<double>(number.value_or(0));
}

double resident_bytes() {
  std::string text = read_line("/proc/self/statm");
  std::string_view rest = text;
  take_part(rest, ' ');
  return leading_number(rest) * static_cast<double>(::sysconf(_SC_PAGESIZE));
}

double available_bytes() {
  constexpr std::string_view kField = "MemAvailable:";
  std::string text = read_file("/proc/meminfo").value_or("");
  auto at = text.find(kField);
  if (at == std::string::npos) return 0;
  return leading_number(std::string_view(text).substr(at + kField.size())) * 1024;
}

}  // namespace

void Metrics::add_to(rpc::Methods& methods) {
  methods.add_unary<sluice_agent_v1_MetricsRequest, sluice_agent_v1_MetricsResponse>(
      "sluice.agent.v1.Agent", "Metrics",
      [this](rpc::Call& call, const sluice_agent_v1_MetricsRequest&) {
        std::vector<Metric> metrics;
        for (const Source& source : sources_) source(metrics);
        if (metrics.size() > kMaxMetrics) metrics.resize(kMaxMetrics);
        std::vector<sluice_agent_v1_Metric> messages;
        for (const Metric& one : metrics) {
          messages.push_back(
              {.name = rpc::field(one.name), .value = one.value, .counter = one.counter});
        }
        sluice_agent_v1_MetricsResponse response{};
        response.metrics_count = static_cast<pb_size_t>(messages.size());
        response.metrics = messages.data();
        call.reply_with(response);
      });
}

void system_metrics(std::vector<Metric>& metrics) {
  struct sysinfo info{};
  ::sysinfo(&info);
  metrics.push_back({.name = "sluice_agent_resident_bytes", .value = resident_bytes()});
  metrics.push_back({.name = "sluice_agent_open_descriptors", .value = open_descriptors()});
  metrics.push_back({.name = "sluice_guest_memory_bytes",
                     .value = static_cast<double>(info.totalram) * info.mem_unit});
  metrics.push_back({.name = "sluice_guest_memory_available_bytes", .value = available_bytes()});
  metrics.push_back({.name = "sluice_guest_processes", .value = static_cast<double>(info.procs)});
  metrics.push_back({.name = "sluice_guest_load1",
                     .value = static_cast<double>(info.loads[0]) / (1 << SI_LOAD_SHIFT)});
  metrics.push_back(
      {.name = "sluice_guest_uptime_seconds", .value = static_cast<double>(info.uptime)});
}

void call_metrics(const rpc::Methods& methods, std::vector<Metric>& metrics) {
  for (const auto& [method, count] : methods.calls()) {
    metrics.push_back({.name = fmt::format("sluice_agent_calls_total{{method=\"{}\"}}", method),
                       .value = static_cast<double>(count),
                       .counter = true});
  }
}

void gate_metrics(const rpc::TokenGate& gate, std::vector<Metric>& metrics) {
  auto add = [&metrics](const char* what, std::uint64_t count) {
    metrics.push_back({.name = fmt::format("sluice_agent_tcp_connections{{result=\"{}\"}}", what),
                       .value = static_cast<double>(count),
                       .counter = true});
  };
  const rpc::TokenGate::Counters& counters = gate.counters();
  add("passed", counters.passed);
  add("wrong-address", counters.wrong_address);
  add("wrong-token", counters.wrong_token);
  add("late", counters.late);
  add("displaced", counters.displaced);
}

void dns_metrics(const GuestDns& dns, std::vector<Metric>& metrics) {
  for (const NamedCounter& one : named_dns_counters()) {
    metrics.push_back({.name = fmt::format("sluice_dns_{}_total", one.name),
                       .value = static_cast<double>(dns.counters().*(one.value)),
                       .counter = true});
  }
  metrics.push_back(
      {.name = "sluice_dns_names", .value = static_cast<double>(dns.registry().names())});
  metrics.push_back(
      {.name = "sluice_dns_pending", .value = static_cast<double>(dns.forwarder().waiting())});
}

}  // namespace sluice::agent
