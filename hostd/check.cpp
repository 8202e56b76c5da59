#include "hostd/check.h"

#include <fmt/format.h>

#include <cstdio>
#include <string>

namespace sluice::hostd {

namespace {

void line(std::string_view key, const std::string& value) {
  std::fputs(fmt::format("{:<10} {}\n", key, value).c_str(), stdout);
}

std::string place_of(const RuleInfo& rule) {
  std::string place = rule.source;
  if (rule.line > 0) place += fmt::format(", line {}", rule.line);
  if (!rule.set.empty()) place += ", set " + rule.set;
  if (!rule.scope.empty()) place += ", for " + rule.scope;
  return place;
}

}  // namespace

int check(const Options& options) {
  auto policy = Network::check(options.network);
  if (!policy) {
    std::fprintf(stderr, "hostd: %s\n", policy.status().message().c_str());
    return 2;
  }
  const NetworkConfig& network = options.network;
  if (!options.name.empty()) line("name", options.name);
  line("guest", fmt::format("{}, {}", network.subnet4.to_string(), network.prefix6.to_string()));
  line("mtu", std::to_string(network.mtu));
  for (const PublishSpec& spec : network.publish) line("publish", to_string(spec));
  for (const DnsResolver& resolver : network.dns_upstreams) line("dns", resolver.to_string());
  for (const RuleInfo& rule : policy->rules) {
    line("rule", fmt::format("{}  ({})", rule.text, place_of(rule)));
  }
  line("else", fmt::format("{} egress, {} ingress; names {}", to_string(policy->egress_default),
                           to_string(policy->ingress_default),
                           policy->names_resolve ? "resolve" : "do not resolve"));
  for (const std::string& warning : policy->warnings) line("warning", warning);
  return 0;
}

}  // namespace sluice::hostd
