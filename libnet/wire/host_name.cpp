#include "wire/host_name.h"

#include <algorithm>
#include <string>

namespace sluice::wire {

namespace {

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

/// `label` is in lower case.
bool reads_as_number(std::string_view label) {
  if (std::ranges::all_of(label, is_digit)) return true;
  if (!label.starts_with("0x")) return false;
  return std::ranges::all_of(label.substr(2),
                             [](char c) { return is_digit(c) || (c >= 'a' && c <= 'f'); });
}

}  // namespace

std::optional<DomainName> host_name(std::string_view text) {
  auto name = DomainName::parse(text);
  if (!name || name->is_root()) return std::nullopt;
  std::string_view normal = name->text();
  if (reads_as_number(normal.substr(normal.rfind('.') + 1))) return std::nullopt;
  return std::move(name).value();
}

}  // namespace sluice::wire
