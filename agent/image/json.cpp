#include "agent/image/json.h"

#include <fmt/format.h>

#include <cstdlib>

namespace sluice::agent {

Result<Json> parse_json(std::string_view text, const std::string& what) {
  json_error_t error;
  Json value(json_loadb(text.data(), text.size(), 0, &error));
  if (!value) {
    return Status(StatusCode::invalid_argument,
                  fmt::format("{}: not JSON: {}", what, static_cast<const char*>(error.text)));
  }
  return value;
}

std::string string_of(const json_t* value) {
  const char* text = json_string_value(value);
  return text ? std::string(text, json_string_length(value)) : std::string();
}

std::uint64_t number_of(const json_t* value) {
  json_int_t number = json_integer_value(value);
  return number > 0 ? static_cast<std::uint64_t>(number) : 0;
}

std::vector<std::string> strings_of(const json_t* array) {
  std::vector<std::string> list;
  for (std::size_t i = 0; i < json_array_size(array); ++i) {
    const json_t* one = json_array_get(array, i);
    if (json_is_string(one)) list.push_back(string_of(one));
  }
  return list;
}

json_t* new_string(std::string_view text) {
  return json_stringn(text.data(), text.size());
}

json_t* new_strings(const std::vector<std::string>& list) {
  json_t* array = json_array();
  for (const std::string& one : list) json_array_append_new(array, new_string(one));
  return array;
}

std::string text_of(const json_t* value) {
  std::unique_ptr<char, decltype(&std::free)> text(json_dumps(value, JSON_COMPACT | JSON_SORT_KEYS),
                                                   &std::free);
  return text ? std::string(text.get()) : std::string();
}

}  // namespace sluice::agent
