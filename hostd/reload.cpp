#include "hostd/reload.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string_view>

#include "hostd/dns_difference.h"

namespace sluice::hostd {

namespace {

bool has(const std::vector<PublishSpec>& list, const PublishSpec& spec) {
  return std::find(list.begin(), list.end(), spec) != list.end();
}

NetworkConfig dns_settings(const NetworkConfig& network) {
  NetworkConfig out;
  out.dns_upstreams = network.dns_upstreams;
  out.dns_split = network.dns_split;
  out.dns_records = network.dns_records;
  out.dns_zones = network.dns_zones;
  return out;
}

/// Whether a running Network can follow a change of this setting.
bool is_live(std::string_view key) {
  static constexpr std::array<std::string_view, 12> kLive{"publish",
                                                          "policy.rules",
                                                          "policy.profile",
                                                          "policy.presets",
                                                          "policy.sets",
                                                          "policy.scope",
                                                          "policy.allow-wide-suffix",
                                                          "dns.upstream",
                                                          "dns.split",
                                                          "dns.records",
                                                          "dns.zones",
                                                          "policy.encrypted-dns"};
  return std::find(kLive.begin(), kLive.end(), key) != kLive.end();
}

}  // namespace

std::string Reload::Report::to_string() const {
  if (applied.empty() && need_a_restart.empty()) return "nothing has changed";
  std::string out;
  if (!applied.empty()) out = fmt::format("in force: {}", fmt::join(applied, ", "));
  if (!need_a_restart.empty()) {
    out += fmt::format("{}at the next start: {}", out.empty() ? "" : "; ",
                       fmt::join(need_a_restart, ", "));
  }
  return out;
}

Reload::Reload(Configuration configuration, const Options& options, Network& network)
    : configuration_(std::move(configuration)),
      network_(network),
      published_(options.network.publish),
      dns_(dns_settings(options.network)) {}

Status Reload::publish_new(const std::vector<PublishSpec>& wanted) {
  added_.clear();
  for (const PublishSpec& spec : wanted) {
    if (has(published_, spec)) continue;
    if (auto ports = network_.publish(spec); !ports) {
      unpublish_old(published_);
      return ports.status();
    }
    added_.push_back(spec);
  }
  return Status::ok();
}

void Reload::unpublish_old(const std::vector<PublishSpec>& wanted) {
  for (const auto* list : {&added_, &published_}) {
    for (const PublishSpec& spec : *list) {
      // What the API has withdrawn already is no loss.
      if (!has(wanted, spec)) static_cast<void>(network_.unpublish(spec, LiveFlows::keep));
    }
  }
}

Result<Reload::Report> Reload::run() {
  std::lock_guard lock(mutex_);
  Configuration fresh = configuration_;
  auto options = fresh.load();
  if (!options) return options.status();
  const std::vector<PublishSpec>& wanted = options->network.publish;
  if (Status status = publish_new(wanted); !status) return status;
  Status status =
      network_.set_policy(options->network.policy, dns_difference(dns_, options->network));
  if (!status) {
    unpublish_old(published_);
    return status;
  }
  unpublish_old(wanted);
  published_ = wanted;
  dns_ = dns_settings(options->network);
  configuration_ = std::move(fresh);
  Report report;
  for (const std::string& key : configuration_.changed_keys()) {
    (is_live(key) ? report.applied : report.need_a_restart).push_back(key);
  }
  return report;
}

}  // namespace sluice::hostd
