#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

// Values of the API as text for people.

namespace sluice::ctl {

/// To standard output.
void print(std::string_view text);
/// A string as it is, anything else as JSON has it. Control bytes are escaped: names come from the
/// guest, and a terminal must not obey them.
std::string text(const nlohmann::json& value);
/// A list of those, with commas between.
std::string joined(const nlohmann::json& list);
/// "17 B", "1.5 MiB"
std::string bytes(std::uint64_t count);
/// In at most 5 characters: "17", "1.5M", "1023K".
std::string short_bytes(std::uint64_t count);
/// In at most 4 characters: "0s", "59s", "12m", "3h", "40d".
std::string short_time(double seconds);
/// Where a rule was written: "vm.toml:4, set mirrors".
std::string place_of(const nlohmann::json& rule);

}  // namespace sluice::ctl
