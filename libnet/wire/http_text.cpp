#include "wire/http_text.h"

#include <cstddef>

#include "base/number.h"

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

/// Whether a field's name is `wanted` to a reader for which '_' and '-' are the same.
bool loosely_named(std::string_view name, std::string_view wanted) {
  auto fold = [](char c) { return c == '_' ? '-' : to_lower(c); };
  return std::ranges::equal(name, wanted, {}, fold, to_lower);
}

}  // namespace

bool frames_or_routes(std::string_view name) {
  return same_word(name, "host") || loosely_named(name, "content-length") ||
         loosely_named(name, "transfer-encoding");
}

std::optional<std::uint64_t> parse_http_number(std::string_view text, std::size_t max_digits,
                                               int base) {
  if (text.empty() || text.size() > max_digits) return std::nullopt;
  return parse_number<std::uint64_t>(text, base);
}

std::optional<std::uint64_t> parse_content_length(std::string_view text) {
  constexpr std::size_t kMaxDigits = 15;
  bool is_padded = text.size() > 1 && text.starts_with('0');
  if (is_padded) return std::nullopt;
  return parse_http_number(text, kMaxDigits, 10);
}

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
