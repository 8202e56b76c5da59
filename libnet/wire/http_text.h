#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string_view>

// Characters and lines of HTTP/1 (RFC 9110 section 5.6, RFC 9112 section 2).

namespace sluice::wire {

inline bool is_http_token_char(char c) {
  if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')) return true;
  return std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}

inline bool is_http_token(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, is_http_token_char);
}

/// What some reader takes for a blank between words: those of ASCII and Latin-1.
inline bool is_loose_blank(char c) {
  auto byte = static_cast<unsigned char>(c);
  return byte == ' ' || (byte >= '\t' && byte <= '\r') || (byte >= 0x1c && byte <= 0x1f) ||
         byte == 0x85 || byte == 0xa0;
}

/// A byte of a field value: no control but the tab. Bytes over 0x7f are opaque (obs-text).
inline bool is_http_value_char(char c) {
  auto byte = static_cast<unsigned char>(c);
  return byte == '\t' || (byte >= 0x20 && byte != 0x7f);
}

inline bool is_http_value(std::string_view text) {
  return std::ranges::all_of(text, is_http_value_char);
}

inline char to_lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

/// Without regard to the case of ASCII letters.
inline bool same_word(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, {}, to_lower, to_lower);
}

/// Without spaces and tabs at either end.
inline std::string_view trimmed(std::string_view text) {
  auto first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

/// Visible ASCII: what a request target is made of.
inline bool is_http_target(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) { return c > 0x20 && c < 0x7f; });
}

/// Whether a field's name is Host, Content-Length or Transfer-Encoding, or one of the latter to a
/// reader for which '_' and '-' are the same (CGI).
bool frames_or_routes(std::string_view name);

/// Digits and nothing else.
std::optional<std::uint64_t> parse_http_number(std::string_view text, std::size_t max_digits,
                                               int base);
/// Without leading zeros, and below 2^53, as some readers count in floating point.
std::optional<std::uint64_t> parse_content_length(std::string_view text);

/// Whether some server would read a connection's first line as a request, were it lenient about
/// blanks: a word further back begins with "HTTP/", or it is HTTP/0.9's "GET /path".
bool looks_like_http_request(std::string_view line);

}  // namespace sluice::wire
