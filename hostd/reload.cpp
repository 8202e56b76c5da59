#include "hostd/reload.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <string_view>

namespace sluice::hostd {

namespace {

bool has(const std::vector<PublishSpec>& list, const PublishSpec& spec) {
  return std::find(list.begin(), list.end(), spec) != list.end();
}

/// Whether a key of the policy's is no rule, and read when the Network starts.
bool is_fixed(std::string_view key) {
  constexpr std::string_view kKeys[] = {"policy.unidentified", "policy.ech", "policy.on-violation",
                                        "policy.revoked-flows"};
  return std::find(std::begin(kKeys), std::end(kKeys), key) != std::end(kKeys);
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
      published_(options.network.publish) {}

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
  Status status = network_.set_policy(options->network.policy);
  if (!status) {
    unpublish_old(published_);
    return status;
  }
  unpublish_old(wanted);
  published_ = wanted;
  configuration_ = std::move(fresh);
  Report report;
  for (const std::string& key : configuration_.changed_keys()) {
    bool is_live = (key.starts_with("policy.") && !is_fixed(key)) || key == "publish";
    (is_live ? report.applied : report.need_a_restart).push_back(key);
  }
  return report;
}

}  // namespace sluice::hostd
