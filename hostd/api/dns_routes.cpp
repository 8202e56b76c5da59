#include <fmt/format.h>

#include <algorithm>

#include "dns/host_resolvers.h"
#include "dns/record_print.h"
#include "dns/record_text.h"
#include "hostd/api/answers.h"
#include "hostd/api/api.h"
#include "hostd/api/json.h"

// /v1/dns: what the guest's resolver answers itself, and whom it asks.

namespace sluice::hostd {

using nlohmann::json;

namespace {

/// `key`, from the query or the body, as a name that is not the root.
Result<DomainName> name_of(const std::string& text, std::string_view key) {
  auto name = DomainName::parse(text);
  if (!name) return name.status();
  if (name->is_root()) return Status::invalid_argument(fmt::format("{} is needed", key));
  return name;
}

Result<DomainName> name_in_query(const HttpRequest& request, const std::string& key) {
  return name_of(argument(request, key).value_or(""), fmt::format("?{0}={0}", key));
}

Result<DomainName> zone_in(const json& body) {
  auto zone = body.find("zone");
  if (zone == body.end() || !zone->is_string())
    return Status::invalid_argument("zone is a string and needed");
  return name_of(zone->get<std::string>(), "zone");
}

Result<std::vector<DnsResolver>> resolvers_in(const json& body) {
  auto texts = strings_of(body, "resolvers");
  if (!texts) return texts.status();
  if (!body.contains("resolvers"))
    return Status::invalid_argument("resolvers, an array of strings, is needed");
  std::vector<DnsResolver> resolvers;
  for (const std::string& text : *texts) {
    auto resolver = dns::parse_resolver(text);
    if (!resolver) return resolver.status();
    resolvers.push_back(std::move(*resolver));
  }
  return resolvers;
}

/// What a query asks of: ?name=NAME&type=TYPE&value=VALUE.
Result<DnsRecordMatch> match_of(const HttpRequest& request) {
  auto name = DomainName::parse(argument(request, "name").value_or(""));
  if (!name) return name.status();
  std::string word = argument(request, "type").value_or("");
  auto type = dns::parse_type(word);
  if (!word.empty() && !type)
    return Status::invalid_argument(fmt::format("'{}' is no type of a record here", word));
  return DnsRecordMatch{std::move(*name), std::string(type ? dns::type_name(*type) : ""),
                        argument(request, "value").value_or("")};
}

template <typename List, typename Matches>
List only(List list, Matches matches) {
  std::erase_if(list, [&](const auto& one) { return !matches(one); });
  return list;
}

Status not_found(std::string why) {
  return Status(StatusCode::not_found, std::move(why));
}

}  // namespace

HttpResponse Api::dns(const HttpRequest&) {
  return reply(to_json(network_.dns()));
}

HttpResponse Api::dns_records(const HttpRequest& request) {
  auto match = match_of(request);
  if (!match) return problem(match.status());
  auto wanted = [&](const DnsRecord& record) { return match->matches(record); };
  return reply(to_json(only(network_.dns_records(), wanted)));
}

HttpResponse Api::add_dns_records(const HttpRequest& request) {
  auto body = object_of(request, {"records", "replace"});
  if (!body) return problem(body.status());
  auto records = strings_of(*body, "records");
  if (!records) return problem(records.status());
  if (records->empty()) {
    return problem(Status::invalid_argument(R"({"records": ["NAME [TTL] TYPE VALUE"]} is needed)"));
  }
  json replace = body->value("replace", json(false));
  if (!replace.is_boolean()) return problem(Status::invalid_argument("replace is true or false"));
  DnsChange change;
  std::vector<DnsRecordMatch> sets;
  for (const std::string& text : *records) {
    auto record = dns::parse_record(text);
    auto described = record ? dns::describe_record(*record) : std::nullopt;
    if (!described) return problem(record.status());
    sets.push_back({std::move(described->name), std::move(described->type), ""});
  }
  if (replace.get<bool>()) change.remove_records = sets;
  change.add_records = std::move(*records);
  if (Status status = network_.change_dns(change); !status) return problem(status);
  return reply(to_json(only(network_.dns_records(), [&](const DnsRecord& record) {
    return std::any_of(sets.begin(), sets.end(),
                       [&](const DnsRecordMatch& set) { return set.matches(record); });
  })));
}

HttpResponse Api::remove_dns_records(const HttpRequest& request) {
  auto match = match_of(request);
  if (!match) return problem(match.status());
  if (match->name.is_root()) return problem(Status::invalid_argument("?name=NAME is needed"));
  auto wanted = [&](const DnsRecord& record) { return match->matches(record); };
  auto removed = only(network_.dns_records(), wanted);
  if (removed.empty()) {
    return problem(not_found(fmt::format("{} has no such record here", match->name.text())));
  }
  DnsChange change;
  change.remove_records = {std::move(*match)};
  Status status = network_.change_dns(change);
  return status ? reply({{"removed", to_json(removed)}}) : problem(status);
}

HttpResponse Api::dns_zones(const HttpRequest&) {
  return reply(to_json(network_.dns().zones));
}

HttpResponse Api::add_dns_zone(const HttpRequest& request) {
  auto body = object_of(request, {"zone"});
  auto zone = body ? zone_in(*body) : Result<DomainName>(body.status());
  if (!zone) return problem(zone.status());
  DnsChange change;
  change.add_zones = {std::move(*zone)};
  Status status = network_.change_dns(change);
  return status ? reply(to_json(network_.dns().zones)) : problem(status);
}

HttpResponse Api::remove_dns_zone(const HttpRequest& request) {
  auto zone = name_in_query(request, "zone");
  if (!zone) return problem(zone.status());
  std::vector<DomainName> zones = network_.dns().zones;
  if (std::find(zones.begin(), zones.end(), *zone) == zones.end()) {
    return problem(not_found(fmt::format("{} is no zone of ours", zone->text())));
  }
  DnsChange change;
  change.remove_zones = {*zone};
  Status status = network_.change_dns(change);
  return status ? reply({{"removed", zone->text()}}) : problem(status);
}

HttpResponse Api::dns_split(const HttpRequest&) {
  return reply(to_json(network_.dns().split));
}

HttpResponse Api::set_dns_split(const HttpRequest& request) {
  auto body = object_of(request, {"zone", "resolvers"});
  if (!body) return problem(body.status());
  auto zone = zone_in(*body);
  if (!zone) return problem(zone.status());
  auto resolvers = resolvers_in(*body);
  if (!resolvers) return problem(resolvers.status());
  if (resolvers->empty()) {
    return problem(Status::invalid_argument(
        fmt::format("zone {} has no resolver; give at least one", zone->text())));
  }
  DnsChange change;
  change.add_split = {{std::move(*zone), std::move(*resolvers)}};
  Status status = network_.change_dns(change);
  return status ? reply(to_json(network_.dns().split)) : problem(status);
}

HttpResponse Api::remove_dns_split(const HttpRequest& request) {
  auto zone = name_in_query(request, "zone");
  if (!zone) return problem(zone.status());
  auto is_it = [&](const DnsInfo::Split& split) { return split.zone == *zone; };
  if (only(network_.dns().split, is_it).empty()) {
    return problem(not_found(fmt::format("{} has no resolvers of its own", zone->text())));
  }
  DnsChange change;
  change.remove_split = {*zone};
  Status status = network_.change_dns(change);
  return status ? reply({{"removed", zone->text()}}) : problem(status);
}

HttpResponse Api::dns_upstream(const HttpRequest&) {
  DnsInfo dns = network_.dns();
  return reply({{"resolvers", to_json(dns.resolvers)}, {"follows_host", dns.follows_host}});
}

HttpResponse Api::set_dns_upstream(const HttpRequest& request) {
  auto body = object_of(request, {"resolvers"});
  if (!body) return problem(body.status());
  auto resolvers = resolvers_in(*body);
  if (!resolvers) return problem(resolvers.status());
  DnsChange change;
  change.upstreams = std::move(*resolvers);
  Status status = network_.change_dns(change);
  return status ? dns_upstream(request) : problem(status);
}

}  // namespace sluice::hostd
