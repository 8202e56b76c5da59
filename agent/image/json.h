#pragma once

#include <jansson.h>
#include <net/status.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace sluice::agent {

struct JsonRelease {
  void operator()(json_t* value) const { json_decref(value); }
};
/// A JSON value that is kept. Values within it are borrowed, as plain pointers, which may be null:
/// every look into one of these has an answer for what is not there or of another type.
using Json = std::unique_ptr<json_t, JsonRelease>;

/// Nesting and numbers are limited by the library. invalid_argument: `what` is no JSON.
Result<Json> parse_json(std::string_view text, const std::string& what);

inline const json_t* member(const json_t* object, const char* name) {
  return json_object_get(object, name);
}
/// Empty where it is no string.
std::string string_of(const json_t* value);
inline std::string string_member(const json_t* object, const char* name) {
  return string_of(member(object, name));
}
/// 0 where it is no whole number from 0 on.
std::uint64_t number_of(const json_t* value);
/// Its strings; what is none is left out.
std::vector<std::string> strings_of(const json_t* array);

/// nullptr for text that is no UTF-8.
json_t* new_string(std::string_view text);
json_t* new_strings(const std::vector<std::string>& list);
/// In order of the names, so that the same value is the same text.
std::string text_of(const json_t* value);

}  // namespace sluice::agent
