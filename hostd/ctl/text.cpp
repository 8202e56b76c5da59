#include "hostd/ctl/text.h"

#include <fmt/format.h>

#include <array>
#include <cstdio>
#include <iterator>
#include <utility>

namespace sluice::ctl {

using nlohmann::json;

void print(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
}

std::string text(const json& value) {
  const std::string raw = value.is_string() ? value.get<std::string>() : value.dump();
  std::string out;
  for (char c : raw) {
    bool is_control = static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
    out += is_control ? fmt::format("\\x{:02x}", static_cast<unsigned char>(c)) : std::string(1, c);
  }
  return out;
}

std::string joined(const json& list) {
  std::string out;
  for (const json& one : list) out += (out.empty() ? "" : ", ") + text(one);
  return out;
}

std::string bytes(std::uint64_t count) {
  static constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(count);
  std::size_t unit = 0;
  while (value >= 1024 && unit + 1 < std::size(kUnits)) value /= 1024, ++unit;
  return unit == 0 ? fmt::format("{} B", count) : fmt::format("{:.1f} {}", value, kUnits[unit]);
}

std::string short_bytes(std::uint64_t count) {
  static constexpr std::array<char, 6> kUnits{'K', 'M', 'G', 'T', 'P', 'E'};
  if (count < 1024) return std::to_string(count);
  double value = static_cast<double>(count) / 1024;
  std::size_t unit = 0;
  // 1023.5 would be shown as 1024.
  while (value >= 1023.5 && unit + 1 < kUnits.size()) value /= 1024, ++unit;
  int decimals = value < 9.95 ? 1 : 0;
  return fmt::format("{:.{}f}{}", value, decimals, kUnits[unit]);
}

std::string short_time(double seconds) {
  static constexpr std::array<std::pair<double, char>, 3> kUnits{
      {{86400, 'd'}, {3600, 'h'}, {60, 'm'}}};
  for (auto [length, unit] : kUnits) {
    if (seconds >= length) return fmt::format("{}{}", static_cast<int>(seconds / length), unit);
  }
  return fmt::format("{}s", static_cast<int>(seconds));
}

std::string place_of(const json& rule) {
  std::string place = text(rule["source"]);
  if (rule.contains("line")) place += fmt::format(":{}", rule["line"].get<int>());
  if (rule.contains("set")) place += ", set " + text(rule["set"]);
  if (rule.contains("scope")) place += ", for " + text(rule["scope"]);
  return place;
}

}  // namespace sluice::ctl
