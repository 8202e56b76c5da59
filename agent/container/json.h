#pragma once

#include <jansson.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace sluice::agent {

/// A JSON value of one's own. Members are read by the functions below, which take what is missing
/// or of another type for nothing.
using Json = std::unique_ptr<json_t, decltype(&json_decref)>;

inline Json json_object_new() {
  return {json_object(), json_decref};
}
/// Null where it is no JSON. Nesting beyond jansson's own limit (2048) is none.
inline Json json_parse(std::string_view text) {
  return {json_loadb(text.data(), text.size(), JSON_REJECT_DUPLICATES, nullptr), json_decref};
}
inline std::string json_text(const json_t* value) {
  std::unique_ptr<char, decltype(&free)> text(json_dumps(value, JSON_COMPACT), free);
  return text ? std::string(text.get()) : std::string();
}

/// What is no UTF-8 becomes '?': jansson takes nothing else.
json_t* json_string_of(std::string_view text);
json_t* json_list_of(const std::vector<std::string>& list);

inline void json_put(json_t* object, const char* name, json_t* value) {
  json_object_set_new(object, name, value);
}
inline void json_put(json_t* object, const char* name, std::string_view text) {
  json_put(object, name, json_string_of(text));
}
inline void json_put(json_t* object, const char* name, const char* text) {
  json_put(object, name, std::string_view(text));
}
inline void json_put(json_t* object, const char* name, const std::vector<std::string>& list) {
  json_put(object, name, json_list_of(list));
}
/// Beyond 63 bits it becomes the most that there is.
inline void json_put_number(json_t* object, const char* name, std::uint64_t number) {
  json_put(object, name,
           json_integer(static_cast<json_int_t>(std::min<std::uint64_t>(number, INT64_MAX))));
}
inline void json_put_bool(json_t* object, const char* name, bool value) {
  json_put(object, name, json_boolean(value));
}

std::string json_get_text(const json_t* object, const char* name);
std::vector<std::string> json_get_list(const json_t* object, const char* name);
std::map<std::string, std::string> json_get_map(const json_t* object, const char* name);
inline std::int64_t json_get_number(const json_t* object, const char* name) {
  return json_integer_value(json_object_get(object, name));
}
/// 0 where it is below.
inline std::uint64_t json_get_count(const json_t* object, const char* name) {
  std::int64_t number = json_get_number(object, name);
  return number < 0 ? 0 : static_cast<std::uint64_t>(number);
}
inline bool json_get_bool(const json_t* object, const char* name) {
  return json_is_true(json_object_get(object, name));
}

}  // namespace sluice::agent
