#include <catch2/catch.hpp>
#include <cctype>
#include <nlohmann/json.hpp>
#include <set>
#include <string>

#include "hostd/api/api.h"
#include "hostd/api/openapi.h"

using namespace sluice;

TEST_CASE("the OpenAPI document has the routes of the server, and no others") {
  auto document = nlohmann::json::parse(hostd::openapi_document());
  std::set<std::string> described, served;
  for (const auto& [path, item] : document["paths"].items()) {
    for (const auto& [key, operation] : item.items()) {
      if (key == "parameters") continue;
      std::string method;
      for (char c : key) method += static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
      described.insert(method + " " + path);
    }
  }
  for (const auto& route : hostd::Api::routes()) {
    served.insert(std::string(route.method) + " " + std::string(route.path));
  }
  CHECK(described == served);
  CHECK(served.size() == hostd::Api::routes().size());
}

TEST_CASE("a part in braces stands for one part of a path, not for none or two") {
  hostd::Api::Route route{"GET", "/v1/flows/{id}", nullptr};
  CHECK(route.matches("/v1/flows/12"));
  CHECK_FALSE(route.matches("/v1/flows/"));
  CHECK_FALSE(route.matches("/v1/flows"));
  CHECK_FALSE(route.matches("/v1/flows/1/2"));
}
