#include "hostd/api/json.h"

#include <optional>

namespace sluice::hostd {

namespace {

using nlohmann::json;

std::string text(Action action) {
  return std::string(to_string(action));
}

json to_json(const RuleInfo& rule) {
  json out{{"text", rule.text}, {"source", rule.source}};
  if (rule.line > 0) out["line"] = rule.line;
  if (!rule.scope.empty()) out["scope"] = rule.scope;
  if (!rule.set.empty()) out["set"] = rule.set;
  return out;
}

json to_json(const std::optional<RuleInfo>& rule) {
  return rule ? to_json(*rule) : json(nullptr);
}

json to_json(const Judgement& judgement) {
  return {{"subject", judgement.subject},    {"verdict", text(judgement.action)},
          {"rule", to_json(judgement.rule)}, {"reason", judgement.reason},
          {"names", judgement.names},        {"name_is_decisive", judgement.name_is_decisive}};
}

/// ICMP has no ports.
std::string place(const Endpoint& endpoint, Protocol protocol) {
  return protocol == Protocol::icmp ? endpoint.address.to_string() : endpoint.to_string();
}

/// To the millisecond.
double seconds(std::chrono::nanoseconds time) {
  auto milliseconds = std::chrono::duration_cast<std::chrono::milliseconds>(time);
  return static_cast<double>(milliseconds.count()) / 1000;
}

json counters_object(const std::vector<std::pair<std::string, std::uint64_t>>& counters) {
  json out = json::object();
  for (const auto& [name, count] : counters) out[name] = count;
  return out;
}

}  // namespace

json to_json(const PublishedPort& port) {
  json out{{"proto", std::string(to_string(port.spec.protocol))},
           {"guest_port", port.guest_port.value()},
           {"spec", to_string(port.spec)}};
  if (port.host) {
    out["host"] = port.host->address.to_string();
    out["host_port"] = port.host->port.value();
  } else {
    out["unix"] = port.spec.unix_path;
  }
  return out;
}

json to_json(const NetworkCounters& counters) {
  return {
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
      {"drops", counters_object(counters.drops)}};
}

json to_json(const PolicyInfo& policy) {
  json rules = json::array();
  for (const RuleInfo& rule : policy.rules) rules.push_back(to_json(rule));
  return {{"generation", policy.generation},
          {"rules", rules},
          {"default",
           {{"egress", text(policy.egress_default)}, {"ingress", text(policy.ingress_default)}}},
          {"names_resolve", policy.names_resolve},
          {"warnings", policy.warnings},
          {"summary", policy.summary}};
}

json to_json(const PolicyAnswer& answer) {
  json flows = json::array();
  for (const Judgement& flow : answer.flows) flows.push_back(to_json(flow));
  json out{{"verdict", text(answer.action)}, {"flows", flows}};
  out["lookup"] = answer.lookup ? to_json(*answer.lookup) : json(nullptr);
  if (!answer.note.empty()) out["note"] = answer.note;
  return out;
}

json to_json(const LearnReport& report) {
  json rules = json::array();
  for (const LearnReport::Item& item : report.rules) {
    json one{{"rule", item.rule}, {"seen", item.seen}};
    if (!item.note.empty()) one["note"] = item.note;
    rules.push_back(std::move(one));
  }
  return {{"active", report.active},
          {"mode", report.mode == LearnMode::everything ? "everything" : "refused"},
          {"rules", std::move(rules)},
          {"overflow", report.overflow}};
}

json to_json(const NameBinding& binding) {
  return {{"name", binding.name},
          {"address", binding.address.to_string()},
          {"expires_in_s", binding.expires_in.count()},
          {"in_use", binding.in_use}};
}

json to_json(const DomainName& name) {
  return name.text();
}

json to_json(const AgentChannel::State& agent) {
  return {
      {"connected", agent.connected},
      {"endpoint", agent.endpoint},
      {"version", agent.version},
      {"boot_id", agent.boot_id},
      {"last_error", agent.last_error},
      {"clients", agent.clients},
      {"clock_offset_ns", agent.clock_offset_ns ? json(*agent.clock_offset_ns) : json(nullptr)}};
}

json to_json(const DnsInfo::Resolver& resolver) {
  json out{{"endpoint", resolver.resolver.to_string()},
           {"avoided", resolver.avoided},
           {"answers", resolver.answers},
           {"failures", resolver.failures}};
  if (!resolver.trouble.empty()) out["trouble"] = resolver.trouble;
  return out;
}

json to_json(const DnsInfo::Split& split) {
  return {{"zone", split.zone.text()}, {"resolvers", to_json(split.resolvers)}};
}

json to_json(const DnsRecord& record) {
  return {{"name", record.name.text()},
          {"type", record.type},
          {"ttl", record.ttl_seconds},
          {"value", record.value}};
}

json to_json(const DnsInfo& dns) {
  return {{"resolvers", to_json(dns.resolvers)},
          {"follows_host", dns.follows_host},
          {"split", to_json(dns.split)},
          {"zones", to_json(dns.zones)},
          {"records", dns.records},
          {"cache", {{"entries", dns.cache_entries}, {"bytes", dns.cache_bytes}}},
          {"counters", counters_object(dns.counters)}};
}

json to_json(const FlowInfo& flow) {
  return {{"id", flow.id},
          {"proto", std::string(to_string(flow.protocol))},
          {"direction", std::string(to_string(flow.direction))},
          {"state", std::string(to_string(flow.state))},
          {"guest", place(flow.guest, flow.protocol)},
          {"remote", place(flow.remote, flow.protocol)},
          {"names", flow.names},
          {"server_name", flow.server_name},
          {"age_s", seconds(flow.age)},
          {"idle_s", seconds(flow.idle)},
          {"tx_bytes", flow.tx_bytes},
          {"rx_bytes", flow.rx_bytes},
          {"rule", flow.rule},
          {"decided_by", to_json(flow.decided_by)},
          {"generation", flow.generation}};
}

json to_json(const Event& event, const std::string& network, const std::string& container) {
  json out{{"time_ns", event.time_ns},
           {"event", std::string(to_string(event.kind))},
           {"network", network},
           {"guest", event.guest},
           {"flow", event.flow == 0 ? json(nullptr) : json(event.flow)},
           {"layer", std::string(to_string(event.layer))},
           {"proto", std::string(to_string(event.protocol))},
           {"source", place(event.source, event.protocol)},
           {"destination", place(event.destination, event.protocol)},
           {"names", event.names},
           {"server_name", event.server_name},
           {"verdict", text(event.verdict())},
           {"rule", event.rule},
           {"decided_by", to_json(event.decided_by)},
           {"generation", event.generation},
           {"reason", event.reason},
           {"fatal", event.is_fatal},
           {"suppressed", event.suppressed}};
  if (!container.empty()) out["container"] = container;
  if (event.kind == EventKind::closed) {
    out["tx_bytes"] = event.tx_bytes;
    out["rx_bytes"] = event.rx_bytes;
    out["duration_ns"] = event.duration.count();
  }
  return out;
}

}  // namespace sluice::hostd
