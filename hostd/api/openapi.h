#pragma once

#include <string_view>

namespace sluice::hostd {

/// The OpenAPI 3.1 document of the control API, as it is in openapi.json.
std::string_view openapi_document();

}  // namespace sluice::hostd
