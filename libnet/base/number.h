#pragma once

#include <charconv>
#include <concepts>
#include <optional>
#include <string_view>
#include <system_error>

namespace sluice {

/// A text that is a whole number, and nothing besides: no space, no `+`, `-` only where the type
/// has a sign. Nothing where it is none, or too large for the type.
/// @param base 2 to 36; in digits past 9 case does not matter
template <std::integral Number>
std::optional<Number> parse_number(std::string_view text, int base = 10) {
  Number value{};
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace sluice
