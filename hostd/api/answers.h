#pragma once

#include <net/status.h>

#include <cstdint>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "hostd/api/http_server.h"

// What the handlers of the API have in common.

namespace sluice::hostd {

HttpResponse reply(const nlohmann::json& body);

/// A problem document (RFC 9457).
HttpResponse problem(int status, std::string_view title, std::string_view detail);
HttpResponse problem(const Status& status);

/// The body as an object that has no other members than `known`.
Result<nlohmann::json> object_of(const HttpRequest& request,
                                 std::initializer_list<std::string_view> known);

/// Of the query.
std::optional<std::string> argument(const HttpRequest& request, const std::string& name);

/// A number of the query, where it is there.
Result<std::optional<std::uint64_t>> number_argument(const HttpRequest& request,
                                                     const std::string& name);

/// The strings of an array that may be missing.
Result<std::vector<std::string>> strings_of(const nlohmann::json& body, const std::string& key);

}  // namespace sluice::hostd
