#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace sluice::ctl {

/// To standard output.
void print(std::string_view text);

/// A value of the API's as people read it: a string without its quotes.
std::string text(const nlohmann::json& value);

/// "1.5 KiB".
std::string bytes(std::uint64_t count);

/// An array's values with commas between.
std::string joined(const nlohmann::json& list);

}  // namespace sluice::ctl
