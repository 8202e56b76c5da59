#include <fmt/format.h>

#include "hostd/ctl/commands.h"
#include "hostd/ctl/table.h"
#include "hostd/ctl/text.h"

namespace sluice::ctl {

using nlohmann::json;

namespace {

std::string state_of(const json& resolver) {
  bool is_avoided = resolver["avoided"].get<bool>();
  if (!resolver.contains("trouble")) return is_avoided ? "asked last" : "in use";
  return fmt::format("{}{}",
                     is_avoided ? "asked last: " : "last time: ", text(resolver["trouble"]));
}

void add_rows(Table& table, const std::string& zone, const json& resolvers) {
  for (const json& resolver : resolvers) {
    table.add({zone, text(resolver["endpoint"]), text(resolver["answers"]),
               text(resolver["failures"]), state_of(resolver)});
  }
}

Table resolver_table() {
  return Table({"ZONE", "RESOLVER", "ANSWERS", "FAILURES", "STATE"});
}

void print_split(const json& split) {
  Table table = resolver_table();
  for (const json& one : split) add_rows(table, text(one["zone"]), one["resolvers"]);
  print(table.to_string("no zone has resolvers of its own"));
}

void print_dns(const json& dns) {
  Table table = resolver_table();
  add_rows(table, "(all others)", dns["resolvers"]);
  for (const json& one : dns["split"]) add_rows(table, text(one["zone"]), one["resolvers"]);
  print(table.to_string("no resolver: only local names are answered"));
  if (dns["follows_host"].get<bool>()) print("those of all others are this host's own\n");
  print(fmt::format("\nrecords: {}", text(dns["records"])));
  if (!dns["zones"].empty()) print("; zones: " + joined(dns["zones"]));
  print(fmt::format("\ncache: {} answers, {}\n", text(dns["cache"]["entries"]),
                    bytes(dns["cache"]["bytes"].get<std::uint64_t>())));
  for (const auto& [name, count] : dns["counters"].items()) {
    if (count.get<std::uint64_t>() > 0) print(fmt::format("{:<18} {}\n", name, text(count)));
  }
}

void print_upstream(const json& answer) {
  Table table = resolver_table();
  add_rows(table, "(all others)", answer["resolvers"]);
  print(table.to_string("no resolver: only local names are answered"));
  if (answer["follows_host"].get<bool>()) print("those of this host, as they change\n");
}

void print_records(const json& records) {
  Table table({"NAME", "TTL", "TYPE", "VALUE"});
  for (const json& record : records) {
    table.add(
        {text(record["name"]), text(record["ttl"]), text(record["type"]), text(record["value"])});
  }
  print(table.to_string("no records"));
}

void print_zones(const json& zones) {
  for (const json& zone : zones) print(text(zone) + "\n");
  if (zones.empty()) print("no zones\n");
}

}  // namespace

int Commands::dns() {
  return show(client_.get("/v1/dns"), print_dns);
}

int Commands::dns_records(const std::string& name) {
  return show(client_.get("/v1/dns/records?name=" + encoded(name)), print_records);
}

int Commands::add_dns_record(const std::string& record, bool replace) {
  json body{{"records", json::array({record})}, {"replace", replace}};
  return show(client_.put("/v1/dns/records", body), print_records);
}

int Commands::remove_dns_records(const std::string& name, const std::string& type,
                                 const std::string& value) {
  return show(client_.remove(fmt::format("/v1/dns/records?name={}&type={}&value={}", encoded(name),
                                         encoded(type), encoded(value))));
}

int Commands::dns_zones() {
  return show(client_.get("/v1/dns/zones"), print_zones);
}

int Commands::add_dns_zone(const std::string& zone) {
  return show(client_.put("/v1/dns/zones", {{"zone", zone}}), print_zones);
}

int Commands::remove_dns_zone(const std::string& zone) {
  return show(client_.remove("/v1/dns/zones?zone=" + encoded(zone)));
}

int Commands::dns_split() {
  return show(client_.get("/v1/dns/split"), print_split);
}

int Commands::set_dns_split(const std::string& zone, const std::vector<std::string>& resolvers) {
  return show(client_.put("/v1/dns/split", {{"zone", zone}, {"resolvers", resolvers}}),
              print_split);
}

int Commands::remove_dns_split(const std::string& zone) {
  return show(client_.remove("/v1/dns/split?zone=" + encoded(zone)));
}

int Commands::dns_upstream() {
  return show(client_.get("/v1/dns/upstream"), print_upstream);
}

int Commands::set_dns_upstream(const std::vector<std::string>& resolvers) {
  return show(client_.put("/v1/dns/upstream", {{"resolvers", resolvers}}), print_upstream);
}

}  // namespace sluice::ctl
