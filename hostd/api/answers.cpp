#include "hostd/api/answers.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/number.h"

namespace sluice::hostd {

using nlohmann::json;

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

Result<std::optional<std::uint64_t>> number_argument(const HttpRequest& request,
                                                     const std::string& name) {
  auto text = argument(request, name);
  if (!text) return std::optional<std::uint64_t>();
  auto number = parse_number<std::uint64_t>(*text);
  if (!number) return Status(StatusCode::invalid_argument, name + " is a number");
  return number;
}

Result<std::vector<std::string>> strings_of(const json& body, const std::string& key) {
  std::vector<std::string> out;
  Status bad(StatusCode::invalid_argument, key + " is an array of strings");
  json list = body.value(key, json::array());
  if (!list.is_array()) return bad;
  for (const json& one : list) {
    if (!one.is_string()) return bad;
    out.push_back(one.get<std::string>());
  }
  return out;
}

}  // namespace sluice::hostd
