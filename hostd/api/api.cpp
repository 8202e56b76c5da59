#include "hostd/api/api.h"

#include <fmt/format.h>

#include <charconv>
#include <nlohmann/json.hpp>
#include <optional>

#include "hostd/api/json.h"

namespace sluice::hostd {

namespace {

using nlohmann::json;

/// Events of one answer that does not follow.
constexpr std::size_t kEventsPerPage = 1000;

HttpResponse reply(const json& body) {
  // What is not UTF-8 (a path, a log line) must not end the process.
  return {.body = body.dump(-1, ' ', false, json::error_handler_t::replace) + "\n"};
}

HttpResponse problem(int status, std::string_view title, std::string_view detail) {
  HttpResponse response =
      reply({{"title", std::string(title)}, {"status", status}, {"detail", std::string(detail)}});
  response.status = status;
  response.content_type = "application/problem+json";
  return response;
}

HttpResponse problem(const Status& status) {
  switch (status.code()) {
    case StatusCode::invalid_argument:
      return problem(400, "bad request", status.message());
    case StatusCode::not_found:
      return problem(404, "not found", status.message());
    case StatusCode::already_exists:
      return problem(409, "conflict", status.message());
    case StatusCode::permission_denied:
      return problem(403, "not permitted", status.message());
    case StatusCode::exhausted:
      return problem(503, "a limit is reached", status.message());
    default:
      return problem(500, "failed", status.message());
  }
}

/// The body as an object that has no other members than `known`.
Result<json> object_of(const HttpRequest& request, std::initializer_list<std::string_view> known) {
  json body = json::parse(request.body, nullptr, false);
  if (!body.is_object()) {
    return Status(StatusCode::invalid_argument, "the body is no JSON object");
  }
  for (const auto& [key, value] : body.items()) {
    if (std::find(known.begin(), known.end(), key) == known.end()) {
      return Status(StatusCode::invalid_argument, fmt::format("'{}' is not known here", key));
    }
  }
  return body;
}

std::optional<std::string> argument(const HttpRequest& request, const std::string& name) {
  auto at = request.query.find(name);
  return at == request.query.end() ? std::nullopt : std::optional(at->second);
}

std::string with_number(const std::string& event, std::uint64_t number) {
  // Events are objects with members, so a number can be put in front.
  return fmt::format("{{\"seq\":{},{}", number, std::string_view(event).substr(1));
}

/// Server-sent events (HTML standard, section 9.2): each with its number as id.
class EventStream final : public HttpStream {
 public:
  EventStream(EventLog& log, std::uint64_t after) : log_(log), after_(after) {}

  std::string pull() override {
    EventLog::Page page = log_.read(after_, 100);
    std::string out;
    // A first line at once tells the client that it is connected.
    if (!std::exchange(greeted_, true)) out = ": following\n\n";
    if (page.missed > 0) out += fmt::format("event: missed\ndata: {}\n\n", page.missed);
    for (const std::string& event : page.events) {
      out += fmt::format("id: {}\ndata: {}\n\n", page.first, with_number(event, page.first));
      after_ = page.first++;
    }
    return out;
  }

 private:
  EventLog& log_;
  std::uint64_t after_;
  bool greeted_ = false;
};

}  // namespace

struct Api::Route {
  std::string_view method;
  std::string_view path;
  HttpResponse (Api::*handler)(const HttpRequest&);
};

const Api::Route Api::kRoutes[] = {
    {"GET", "/v1/status", &Api::status},        {"GET", "/v1/dns", &Api::dns},
    {"GET", "/v1/names", &Api::names},          {"DELETE", "/v1/names", &Api::forget_name},
    {"GET", "/v1/ports", &Api::ports},          {"PUT", "/v1/ports", &Api::add_port},
    {"DELETE", "/v1/ports", &Api::remove_port}, {"GET", "/v1/policy", &Api::policy},
    {"PUT", "/v1/policy", &Api::set_policy},    {"GET", "/v1/policy/check", &Api::check_policy},
    {"GET", "/v1/events", &Api::events},
};

HttpResponse Api::handle(const HttpRequest& request) {
  std::string allow;
  for (const Route& route : kRoutes) {
    if (route.path != request.path) continue;
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
  return reply(out);
}

HttpResponse Api::dns(const HttpRequest&) {
  return reply(to_json(network_.dns()));
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
  auto body = object_of(request, {"rules", "profile"});
  if (!body) return problem(body.status());
  json texts = body->value("rules", json::array());
  if (!texts.is_array()) return problem(400, "bad request", "rules is an array of strings");
  std::vector<RuleText> rules;
  int line = 0;
  for (const json& rule : texts) {
    if (!rule.is_string()) return problem(400, "bad request", "rules are strings");
    rules.push_back({.text = rule.get<std::string>(), .where = "api", .line = ++line});
  }
  std::optional<std::string> profile;
  if (body->contains("profile") && !(*body)["profile"].is_null()) {
    if (!(*body)["profile"].is_string()) return problem(400, "bad request", "profile is a string");
    profile = (*body)["profile"].get<std::string>();
  }
  Status status = network_.set_policy(std::move(rules), std::move(profile));
  return status ? reply(to_json(network_.policy())) : problem(status);
}

HttpResponse Api::check_policy(const HttpRequest& request) {
  auto answer = network_.check_policy(argument(request, "q").value_or(""));
  return answer ? reply(to_json(*answer)) : problem(answer.status());
}

HttpResponse Api::events(const HttpRequest& request) {
  std::uint64_t after = 0;
  if (auto text = argument(request, "after")) {
    auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), after);
    if (error != std::errc() || end != text->data() + text->size()) {
      return problem(400, "bad request", "after is a number");
    }
  }
  if (argument(request, "follow")) {
    return {.content_type = "text/event-stream",
            .stream = std::make_unique<EventStream>(events_, after)};
  }
  EventLog::Page page = events_.read(after, kEventsPerPage);
  std::string list;
  for (const std::string& event : page.events) {
    list += fmt::format("{}{}", list.empty() ? "" : ",", with_number(event, page.first++));
  }
  return {.body = fmt::format("{{\"missed\":{},\"events\":[{}]}}\n", page.missed, list)};
}

}  // namespace sluice::hostd
