#pragma once

#include <net/network.h>
#include <net/status.h>

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace sluice::hostd {

/// What a common tool needs of the network, as rules. The files of this folder, built in: a line is
/// a rule, or a comment after '#', of which the first says what the preset is for.
struct Preset {
  std::string_view name;
  std::string_view text;

  /// The first comment, without its '#'.
  std::string_view purpose() const;
};

/// By name.
std::span<const Preset> presets();

/// The rules of a preset, each with its line. The error names the nearest preset.
Result<std::vector<RuleText>> preset_rules(std::string_view name);

}  // namespace sluice::hostd
