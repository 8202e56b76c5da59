#include "hostd/api/api.h"

#include <fmt/format.h>

#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/number.h"
#include "hostd/api/answers.h"
#include "hostd/api/event_query.h"
#include "hostd/api/json.h"
#include "hostd/api/openapi.h"
#include "hostd/presets/presets.h"

namespace sluice::hostd {

namespace {

using nlohmann::json;

/// The last part of the path.
Result<FlowId> flow_id_of(const HttpRequest& request) {
  auto id =
      parse_number<FlowId>(std::string_view(request.path).substr(request.path.rfind('/') + 1));
  if (!id) return Status(StatusCode::invalid_argument, "a flow's id is a number");
  return *id;
}

Result<FlowFilter> flow_filter_of(const HttpRequest& request) {
  FlowFilter filter;
  filter.to = argument(request, "to").value_or("");
  if (auto proto = argument(request, "proto")) {
    for (Protocol one : {Protocol::icmp, Protocol::tcp, Protocol::udp}) {
      if (*proto == to_string(one)) filter.protocol = one;
    }
    if (!filter.protocol) {
      return Status(StatusCode::invalid_argument, "proto is tcp, udp or icmp");
    }
  }
  if (auto direction = argument(request, "direction")) {
    for (Direction one : {Direction::egress, Direction::ingress}) {
      if (*direction == to_string(one)) filter.direction = one;
    }
    if (!filter.direction) {
      return Status(StatusCode::invalid_argument, "direction is egress or ingress");
    }
  }
  auto after = number_argument(request, "after");
  if (!after) return after.status();
  filter.after = after->value_or(0);
  auto limit = number_argument(request, "limit");
  if (!limit) return limit.status();
  filter.limit = limit->value_or(filter.limit);
  if (filter.limit < 1 || filter.limit > kMaxFlowsPerPage) {
    return Status(StatusCode::invalid_argument, fmt::format("limit is 1 to {}", kMaxFlowsPerPage));
  }
  return filter;
}

/// "scopes": [{"prefix": BLOCK, "rules": [RULE, ...]}, ...]
Status add_scopes(const json& body, PolicyText& text) {
  Status bad(StatusCode::invalid_argument, "scopes is an array of objects with prefix and rules");
  json scopes = body.value("scopes", json::array());
  if (!scopes.is_array()) return bad;
  for (const json& scope : scopes) {
    if (!scope.is_object() || !scope.contains("prefix") || !scope["prefix"].is_string()) return bad;
    auto prefix = IpPrefix::parse(scope["prefix"].get<std::string>());
    if (!prefix) return prefix.status();
    auto rules = strings_of(scope, "rules");
    if (!rules) return rules.status();
    for (std::string& rule : *rules) {
      text.rules.push_back({.text = std::move(rule),
                            .where = fmt::format("api, scope {}", prefix->to_string()),
                            .shorthand = {},
                            .scope = *prefix});
    }
  }
  return Status::ok();
}

/// The policy that a body describes. `now`: the one in force, of which the sets and the settings
/// stay where the body has none.
Result<PolicyText> policy_text_of(const json& body, PolicyText now) {
  PolicyText text{.sets = std::move(now.sets),
                  .encrypted_dns = now.encrypted_dns,
                  .wide_suffix = now.wide_suffix};
  auto rules = strings_of(body, "rules");
  if (!rules) return rules.status();
  for (std::string& rule : *rules) {
    int line = static_cast<int>(text.rules.size()) + 1;
    text.rules.push_back({.text = std::move(rule), .where = "api", .line = line, .shorthand = {}});
  }
  if (Status status = add_scopes(body, text); !status) return status;
  auto presets = strings_of(body, "presets");
  if (!presets) return presets.status();
  for (const std::string& preset : *presets) {
    auto more = preset_rules(preset);
    if (!more) return more.status();
    std::move(more->begin(), more->end(), std::back_inserter(text.rules));
  }
  if (auto profile = body.find("profile"); profile != body.end() && !profile->is_null()) {
    if (!profile->is_string()) {
      return Status(StatusCode::invalid_argument, "profile is a string");
    }
    text.profile = profile->get<std::string>();
  }
  if (!body.contains("sets")) return text;
  if (!body["sets"].is_object()) {
    return Status(StatusCode::invalid_argument, "sets is an object of arrays of strings");
  }
  text.sets.clear();
  for (const auto& [name, members] : body["sets"].items()) {
    auto list = strings_of(body["sets"], name);
    if (!list) return list.status();
    for (std::string& member : *list) {
      text.sets.push_back({.name = name, .members = std::move(member), .where = "api"});
    }
  }
  return text;
}

}  // namespace

bool Api::Route::matches(std::string_view wanted) const {
  std::size_t open = path.find('{');
  if (open == std::string_view::npos) return wanted == path;
  return wanted.size() > open && wanted.starts_with(path.substr(0, open)) &&
         wanted.find('/', open) == std::string_view::npos;
}

const Api::Route Api::kRoutes[] = {
    {"GET", "/v1/status", &Api::status},
    {"GET", "/v1/openapi.json", &Api::openapi},
    {"GET", "/v1/flows", &Api::flows},
    {"GET", "/v1/flows/{id}", &Api::flow},
    {"DELETE", "/v1/flows/{id}", &Api::reset_flow},
    {"GET", "/v1/dns", &Api::dns},
    {"GET", "/v1/dns/records", &Api::dns_records},
    {"PUT", "/v1/dns/records", &Api::add_dns_records},
    {"DELETE", "/v1/dns/records", &Api::remove_dns_records},
    {"GET", "/v1/dns/zones", &Api::dns_zones},
    {"PUT", "/v1/dns/zones", &Api::add_dns_zone},
    {"DELETE", "/v1/dns/zones", &Api::remove_dns_zone},
    {"GET", "/v1/dns/split", &Api::dns_split},
    {"PUT", "/v1/dns/split", &Api::set_dns_split},
    {"DELETE", "/v1/dns/split", &Api::remove_dns_split},
    {"GET", "/v1/dns/upstream", &Api::dns_upstream},
    {"PUT", "/v1/dns/upstream", &Api::set_dns_upstream},
    {"GET", "/v1/names", &Api::names},
    {"DELETE", "/v1/names", &Api::forget_name},
    {"GET", "/v1/ports", &Api::ports},
    {"PUT", "/v1/ports", &Api::add_port},
    {"DELETE", "/v1/ports", &Api::remove_port},
    {"GET", "/v1/policy", &Api::policy},
    {"PUT", "/v1/policy", &Api::set_policy},
    {"GET", "/v1/policy/check", &Api::check_policy},
    {"GET", "/v1/policy/learn", &Api::learned},
    {"PUT", "/v1/policy/learn", &Api::learn},
    {"DELETE", "/v1/policy/learn", &Api::stop_learning},
    {"GET", "/v1/events", &Api::events},
};

std::span<const Api::Route> Api::routes() {
  return kRoutes;
}

HttpResponse Api::handle(const HttpRequest& request) {
  std::string allow;
  for (const Route& route : kRoutes) {
    if (!route.matches(request.path)) continue;
    if (route.method == request.method) return (this->*route.handler)(request);
    allow += fmt::format("{}{}", allow.empty() ? "" : ", ", route.method);
  }
  if (allow.empty()) {
    return problem(404, "no such resource", fmt::format("there is no {}", request.path));
  }
  HttpResponse response =
      problem(405, "no such method", fmt::format("{} takes {}", request.path, allow));
  response.allow = allow;
  return response;
}

HttpResponse Api::status(const HttpRequest&) {
  json out = to_json(network_.counters());
  out["name"] = name_;
  out["policy"] = network_.policy().summary;
  out["guest"] = {{"v4", network_.guest_address(Family::v4).to_string()},
                  {"v6", network_.guest_address(Family::v6).to_string()}};
  out["gateway"] = {{"v4", network_.gateway_address(Family::v4).to_string()},
                    {"v6", network_.gateway_address(Family::v6).to_string()}};
  out["events"] = events_.latest();
  out["event_file"] = nullptr;
  if (file_) {
    EventFile::Counters counters = file_->counters();
    out["event_file"] = {
        {"path", file_->path()}, {"written", counters.written}, {"lost", counters.lost}};
  }
  out["agent"] = agent_ ? to_json(agent_->state()) : json(nullptr);
  return reply(out);
}

HttpResponse Api::openapi(const HttpRequest&) {
  return {.body = std::string(openapi_document())};
}

HttpResponse Api::flows(const HttpRequest& request) {
  auto filter = flow_filter_of(request);
  if (!filter) return problem(filter.status());
  auto page = network_.flows(*filter);
  if (!page) return problem(page.status());
  return reply({{"flows", to_json(page->flows)}, {"rest", page->rest}});
}

HttpResponse Api::flow(const HttpRequest& request) {
  auto id = flow_id_of(request);
  if (!id) return problem(id.status());
  auto flow = network_.flow(*id);
  if (!flow) return problem(404, "not found", fmt::format("there is no open flow {}", *id));
  return reply(to_json(*flow));
}

HttpResponse Api::reset_flow(const HttpRequest& request) {
  auto id = flow_id_of(request);
  if (!id) return problem(id.status());
  auto was_open = network_.reset_flow(*id);
  if (!was_open) return problem(was_open.status());
  return reply({{"id", *id}, {"was_open", *was_open}});
}

HttpResponse Api::names(const HttpRequest&) {
  return reply(to_json(network_.bindings()));
}

HttpResponse Api::forget_name(const HttpRequest& request) {
  auto name = DomainName::parse(argument(request, "name").value_or(""));
  if (!name || name->is_root()) return problem(400, "bad request", "?name=NAME is needed");
  network_.forget(*name);
  return reply({{"forgotten", name->text()}});
}

HttpResponse Api::ports(const HttpRequest&) {
  return reply(to_json(network_.published()));
}

HttpResponse Api::add_port(const HttpRequest& request) {
  auto body = object_of(request, {"spec"});
  if (!body) return problem(body.status());
  if (!body->contains("spec") || !(*body)["spec"].is_string()) {
    return problem(400, "bad request", R"({"spec": "8080:80"} is needed)");
  }
  auto spec = parse_publish((*body)["spec"].get<std::string>());
  if (!spec) return problem(spec.status());
  std::vector<PublishedPort> same;
  for (PublishedPort& port : network_.published()) {
    if (port.spec == *spec) same.push_back(std::move(port));
  }
  if (!same.empty()) return reply(to_json(same));
  auto ports = network_.publish(*spec);
  return ports ? reply(to_json(*ports)) : problem(ports.status());
}

HttpResponse Api::remove_port(const HttpRequest& request) {
  auto spec = parse_publish(argument(request, "spec").value_or(""));
  if (!spec) return problem(spec.status());
  std::string flows = argument(request, "flows").value_or("keep");
  if (flows != "keep" && flows != "reset") {
    return problem(400, "bad request", "flows is keep or reset");
  }
  Status status = network_.unpublish(*spec, flows == "keep" ? LiveFlows::keep : LiveFlows::reset);
  return status ? reply({{"removed", to_string(*spec)}}) : problem(status);
}

HttpResponse Api::policy(const HttpRequest&) {
  return reply(to_json(network_.policy()));
}

HttpResponse Api::set_policy(const HttpRequest& request) {
  auto body = object_of(request, {"rules", "presets", "profile", "scopes", "sets"});
  if (!body) return problem(body.status());
  auto text = policy_text_of(*body, network_.policy_text());
  if (!text) return problem(text.status());
  Status status = network_.set_policy(std::move(*text));
  return status ? reply(to_json(network_.policy())) : problem(status);
}

HttpResponse Api::check_policy(const HttpRequest& request) {
  auto answer = network_.check_policy(argument(request, "q").value_or(""));
  return answer ? reply(to_json(*answer)) : problem(answer.status());
}

HttpResponse Api::learned(const HttpRequest&) {
  return reply(to_json(network_.learned()));
}

HttpResponse Api::learn(const HttpRequest& request) {
  LearnMode mode = LearnMode::everything;
  if (!request.body.empty()) {
    auto body = object_of(request, {"mode"});
    if (!body) return problem(body.status());
    json wanted = body->value("mode", json("everything"));
    if (wanted != "everything" && wanted != "refused") {
      return problem(400, "bad request", "mode is everything or refused");
    }
    if (wanted == "refused") mode = LearnMode::refused;
  }
  network_.learn(mode);
  return reply(to_json(network_.learned()));
}

HttpResponse Api::stop_learning(const HttpRequest&) {
  network_.stop_learning();
  return reply(to_json(network_.learned()));
}

HttpResponse Api::events(const HttpRequest& request) {
  return answer_events(events_, request);
}

}  // namespace sluice::hostd
