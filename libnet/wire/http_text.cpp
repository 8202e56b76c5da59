#include "wire/http_text.h"

#include <cstddef>

namespace sluice::wire {

namespace {

/// Takes the first word off `text`; empty where there is none.
std::string_view take_word(std::string_view& text) {
  auto begin = std::ranges::find_if_not(text, is_loose_blank);
  auto end = std::find_if(begin, text.end(), is_loose_blank);
  auto offset = static_cast<std::size_t>(begin - text.begin());
  auto size = static_cast<std::size_t>(end - begin);
  std::string_view word = text.substr(offset, size);
  text.remove_prefix(offset + size);
  return word;
}

}  // namespace

bool looks_like_http_request(std::string_view line) {
  std::string_view method = take_word(line);
  std::string_view target = take_word(line);
  std::string_view word = target;
  int words = 1;
  for (; !word.empty(); word = take_word(line)) {
    if (same_word(word.substr(0, 5), "HTTP/")) return true;
    ++words;
  }
  bool path = target.starts_with('/') || target.find("://") != std::string_view::npos;
  return words == 2 && same_word(method, "GET") && path;
}

}  // namespace sluice::wire
