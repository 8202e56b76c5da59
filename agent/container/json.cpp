#include "agent/container/json.h"

#include "agent/rpc/message.h"

namespace sluice::agent {

json_t* json_string_of(std::string_view text) {
  json_t* value = json_stringn(text.data(), text.size());
  if (value) return value;
  std::string valid = rpc::valid_utf8(text);
  return json_stringn(valid.data(), valid.size());
}

json_t* json_list_of(const std::vector<std::string>& list) {
  json_t* array = json_array();
  for (const std::string& one : list) json_array_append_new(array, json_string_of(one));
  return array;
}

std::string json_get_text(const json_t* object, const char* name) {
  const json_t* value = json_object_get(object, name);
  if (!json_is_string(value)) return {};
  return {json_string_value(value), json_string_length(value)};
}

std::vector<std::string> json_get_list(const json_t* object, const char* name) {
  const json_t* array = json_object_get(object, name);
  std::vector<std::string> list;
  for (std::size_t i = 0; i < json_array_size(array); ++i) {
    const json_t* one = json_array_get(array, i);
    if (json_is_string(one)) list.emplace_back(json_string_value(one), json_string_length(one));
  }
  return list;
}

std::map<std::string, std::string> json_get_map(const json_t* object, const char* name) {
  json_t* member = json_object_get(object, name);
  std::map<std::string, std::string> map;
  const char* key = nullptr;
  json_t* value = nullptr;
  json_object_foreach(member, key, value) {
    if (json_is_string(value)) {
      map[key] = std::string(json_string_value(value), json_string_length(value));
    }
  }
  return map;
}

}  // namespace sluice::agent
