#include "hostd/presets/presets.h"

#include <fmt/format.h>

#include <algorithm>

#include "policy/spelling.h"

namespace sluice::hostd {

std::string_view Preset::purpose() const {
  auto start = std::min(text.find_first_not_of("# "), text.size());
  return text.substr(start, text.find('\n', start) - start);
}

Result<std::vector<RuleText>> preset_rules(std::string_view name) {
  auto all = presets();
  auto preset =
      std::find_if(all.begin(), all.end(), [&](const Preset& one) { return one.name == name; });
  if (preset == all.end()) {
    std::vector<std::string_view> names;
    for (const Preset& one : all) names.push_back(one.name);
    return Status(StatusCode::invalid_argument,
                  fmt::format("'{}' is not a preset{}", name, policy::spelling_hint(name, names)));
  }
  std::vector<RuleText> rules;
  int number = 0;
  for (std::string_view rest = preset->text; !rest.empty();) {
    std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(line.size() + 1, rest.size()));
    ++number;
    line = line.substr(0, line.find('#'));
    line = line.substr(0, line.find_last_not_of(" \t") + 1);
    if (line.empty()) continue;
    rules.push_back({.text = std::string(line),
                     .origin = RuleOrigin::preset,
                     .where = fmt::format("preset {}", name),
                     .line = number,
                     .shorthand = {}});
  }
  return rules;
}

}  // namespace sluice::hostd
